"""Terminal output: lines, a table of names and values, a progress bar, and log records."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich import get_console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from aevb.errors import printable


def show(text: object, style: str = "") -> None:
    """Print text; the terminal wraps long lines, which can then be copied."""
    get_console().print(Text(printable(text), style), soft_wrap=True)


def show_values(title: str, values: Mapping[str, str]) -> None:
    """Print names and values in two columns."""
    show(f"\n{title}", "bold")
    width = max(map(len, values))
    for name, value in values.items():
        line = Text.assemble("  ", (name.ljust(width), "cyan"), "  ", printable(value))
        get_console().print(line, soft_wrap=True)
    show("")


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar if there is a terminal; yields a function that sets the number of finished datapoints."""
    console = get_console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)


class LineHandler(logging.Handler):
    """Prints records with their time, above a progress bar if there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "[%H:%M:%S]"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            show(self.format(record))
        except Exception:
            self.handleError(record)
