"""Labels as conditions: one-hot vectors, of which some may be hidden."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from aevb.data.binarization import generator

MAX_CLASSES = 10_000
_LABELS = 4  # apart from other draws by the same seed


def count_classes(y: Tensor, others: Sequence[Tensor] = ()) -> int:
    """The number of classes of the training labels y (N,), which are 0, 1, …

    A class that no datapoint has, be it one of the `others`, is one too many: it would have a share of a uniform p(y).

    Raises:
        ValueError: they are no classes, or some classes do not occur.
    """
    lowest, highest = int(y.min()), int(y.max())
    if lowest < 0 or highest >= MAX_CLASSES:
        raise ValueError(
            f"data.condition=labels needs classes numbered from 0 to at most {MAX_CLASSES - 1:,}, "
            f"got labels from {lowest:,} to {highest:,}"
        )
    found = torch.cat([y, *others]).unique()
    missing = sorted({*range(highest + 1)} - {*found.tolist()})
    if missing:
        raise ValueError(
            f"data.condition=labels needs classes numbered from 0 without gaps, and no datapoint has the label "
            f"{missing[0]}; number them by numpy.unique(y, return_inverse=True)[1]"
        )
    return highest + 1


def one_hot(y: Tensor, num_classes: int, name: str) -> Tensor:
    """Labels y (N,) as vectors (N, num_classes) that are 1 at y.

    Raises:
        ValueError: a label is no class.
    """
    wrong = y[(y < 0) | (y >= num_classes)]
    if len(wrong):
        raise ValueError(
            f"{name} data have the label {int(wrong[0])}, which is out of the range of the training data, "
            f"0 to {num_classes - 1}"
        )
    return F.one_hot(y, num_classes).float()


def balanced(y: Tensor, count: int, seed: int) -> Tensor:
    """Indices of `count` datapoints drawn at random, equally many of each class; a rest is spread over the first.

    Raises:
        ValueError: there are too few, of a class or of all.
    """
    if count > len(y):
        raise ValueError(f"num_labels must be at most {len(y):,}, the size of the training set, got {count:,}")
    order = torch.randperm(len(y), generator=generator(seed, _LABELS)).to(y.device)
    classes = y.unique()
    chosen = []
    for number, label in enumerate(classes):
        wanted = count // len(classes) + (number < count % len(classes))
        of_class = order[y[order] == label]
        if wanted > len(of_class):
            raise ValueError(
                f"num_labels={count} asks for {wanted:,} labels of class {int(label)}, which has {len(of_class):,}"
            )
        chosen.append(of_class[:wanted])
    return torch.cat(chosen).sort().values


def hide(c: Tensor, known: Tensor) -> Tensor:
    """Conditions c (N, *condition_shape) of which only those at the indices `known` are kept; the others are NaN."""
    hidden = torch.full_like(c, torch.nan)
    hidden[known] = c[known]
    return hidden
