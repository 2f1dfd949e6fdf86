"""Sums and means over the processes of a run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.distributed import all_reduce, get_rank, get_world_size, is_available, is_initialized


class Communication:
    """Whether reductions are currently executed."""

    on = True


@contextmanager
def without_communication() -> Iterator[None]:
    """Skip reductions, for a step that is only traced, which other processes might not do."""
    Communication.on = False
    try:
        yield
    finally:
        Communication.on = True


@torch.library.custom_op("aevb::sum_over_processes", mutates_args=("values",))
def sum_over_processes(values: Tensor) -> None:
    """Replace values by their sums over all processes; a torch operator, so that recorded steps include it."""
    if Communication.on:
        all_reduce(values)


def sums_over_processes(tensors: Sequence[Tensor], of_first: Sequence[Tensor] = ()) -> list[Tensor]:
    """The sums of tensors over all processes of a run, then the tensors of its first process; by one reduction.

    In a run of one process, the tensors themselves.

    Args:
        tensors: Of the same shapes and type in every process.
        of_first: As `tensors`; only those of the first process count.
    """
    if not (is_available() and is_initialized()):
        return [*tensors, *of_first]
    mine = [tensor if get_rank() == 0 else torch.zeros_like(tensor) for tensor in of_first]
    parts = [*tensors, *mine]
    flat = torch.cat([part.reshape(-1) for part in parts])
    sum_over_processes(flat)
    return [sums.view_as(part) for sums, part in zip(flat.split([p.numel() for p in parts]), parts, strict=True)]


def means_over_processes(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The means of tensors over all processes of a run; they have the same shapes and type in each."""
    if not (is_available() and is_initialized()):
        return [*tensors]
    return [total / get_world_size() for total in sums_over_processes(tensors)]
