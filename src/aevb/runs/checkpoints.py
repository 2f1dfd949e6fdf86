"""Checkpoints as data: tensors and plain values, no larger in memory than the file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from aevb.errors import ConfigError, first_line
from aevb.files import open_file, stored_size
from aevb.runs.formats import MAX_INTEGER

MAX_BYTES = 1 << 40


def read_checkpoint(path: Path, root: Path) -> dict[str, Any]:
    """A checkpoint on the CPU, which may hold only tensors and plain values.

    Args:
        path: The checkpoint.
        root: The run folder; see `aevb.files.read_file`.
    """
    with open_file(path, root, MAX_BYTES) as file:
        try:
            size = stored_size(file)
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
            require_within(checkpoint, size)
            weights, samples = checkpoint["state_dict"], checkpoint["samples"]
            if not all(isinstance(weight, Tensor) for weight in weights.values()):
                raise ValueError("state_dict has a value that is not a tensor")
            for name in ("metrics_rows", "members_rows"):
                rows = checkpoint.get(name, 0)
                if type(rows) is not int or rows < 0:
                    raise ValueError(f"{name} is {rows!r}, not a number of rows")
            if type(samples) is not int or not 0 <= samples <= MAX_INTEGER:
                raise ValueError(f"samples is {samples!r}, not a number of samples")
        except Exception as error:  # the exceptions of torch are not documented
            reason = f"it has no {error}" if isinstance(error, KeyError) else first_line(error)
            raise ConfigError(f"{path} is damaged: {reason}") from error
    return dict(checkpoint)


def require_within(value: Any, size: int) -> None:
    """Raise a `ValueError` where the tensors in a value need more than `size` bytes, now or once they are copied."""
    seen: set[int] = set()
    storages: dict[int, int] = {}
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            if item.layout != torch.strided or item.numel() * item.element_size() > item.untyped_storage().nbytes():
                raise ValueError("a tensor is larger than its stored data")
            storages[item.untyped_storage().data_ptr()] = item.untyped_storage().nbytes()
        elif isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set):
            waiting += item
    if sum(storages.values()) > size:
        raise ValueError("a tensor is larger than its stored data")


class SizeLimit(TorchDispatchMode):
    """Raises a `ValueError` where the tensors created inside the context exceed what a checkpoint warrants.

    A stored model is built before its weights are known to fit; an absurd size must not exhaust memory.

    Args:
        weights: Of the checkpoint.
    """

    FACTORIES = ("empty", "zeros", "ones", "full", "eye", "arange", "linspace", "rand", "randn", "tril", "new_")

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.bytes = (256 << 20) + 8 * sum(weight.numel() * weight.element_size() for weight in weights.values())
        self.count = 10_000 + 100 * len(weights)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and func.overloadpacket.__name__.startswith(self.FACTORIES):
            self.bytes -= made.numel() * made.element_size()
            self.count -= 1
            if min(self.bytes, self.count) < 0:
                raise ValueError("the model is larger than its checkpoint")
        return made
