"""Reports on run folders: learning curves, tables, the paper's figures, and a page with all of them."""

from aevb.reports.figures import Item, bound, learning_curves, marginal_likelihood, numbers
from aevb.reports.page import write_page
from aevb.reports.reading import Run, Skipped, find
from aevb.reports.table import table

__all__ = [
    "Item",
    "Run",
    "Skipped",
    "bound",
    "find",
    "learning_curves",
    "marginal_likelihood",
    "numbers",
    "table",
    "write_page",
]
