"""Data sets: one file each, and what they share."""

from aevb.data.anndata import AnnData
from aevb.data.array import Array
from aevb.data.binarized_mnist import BinarizedMNIST
from aevb.data.cifar10 import CIFAR10
from aevb.data.counts import Counts
from aevb.data.csv import CSV
from aevb.data.digits import Digits
from aevb.data.documents import Documents
from aevb.data.folder import Folder
from aevb.data.freyface import FreyFace, FreyFaceVideo
from aevb.data.huggingface import HuggingFace
from aevb.data.idx import EMNIST, KMNIST, FashionMNIST
from aevb.data.jsb import JSB
from aevb.data.loader import BatchLoader
from aevb.data.matlab import SVHN, Caltech101Silhouettes, Omniglot
from aevb.data.melodies import Melodies
from aevb.data.memory_map import MemoryMapped
from aevb.data.mnist import MNIST, MNISTRows
from aevb.data.module import InMemoryDataModule, Split, Splits
from aevb.data.regression import Bimodal, Diabetes
from aevb.data.sprites import Sprites

__all__ = [
    "CIFAR10",
    "CSV",
    "EMNIST",
    "JSB",
    "KMNIST",
    "MNIST",
    "SVHN",
    "AnnData",
    "Array",
    "BatchLoader",
    "Bimodal",
    "BinarizedMNIST",
    "Caltech101Silhouettes",
    "Counts",
    "Diabetes",
    "Digits",
    "Documents",
    "FashionMNIST",
    "Folder",
    "FreyFace",
    "FreyFaceVideo",
    "HuggingFace",
    "InMemoryDataModule",
    "MNISTRows",
    "Melodies",
    "MemoryMapped",
    "Omniglot",
    "Split",
    "Splits",
    "Sprites",
]
