"""Data sets: one file each, and what they share."""

from aevb.data.array import Array
from aevb.data.counts import Counts
from aevb.data.digits import Digits
from aevb.data.freyface import FreyFace
from aevb.data.loader import BatchLoader
from aevb.data.mnist import MNIST
from aevb.data.module import InMemoryDataModule, Split, Splits

__all__ = [
    "MNIST",
    "Array",
    "BatchLoader",
    "Counts",
    "Digits",
    "FreyFace",
    "InMemoryDataModule",
    "Split",
    "Splits",
]
