"""Refuses a model that does not fit in memory before its weights are allocated, which might kill the process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@contextmanager
def weights_within_memory() -> Iterator[None]:
    """Raise a `MemoryError` where parameters created in the context exceed the memory of machine or control group."""
    limit, total = memory_limit(), 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal total
        total += 0 if parameter is None else parameter.numel() * parameter.element_size()
        if total > limit:
            raise MemoryError(f"its weights need over {total / 2**30:,.0f} GiB, there are {limit / 2**30:,.0f} GiB")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def memory_limit() -> int:
    """The limit on the memory of this process, in bytes."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(physical, int(CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # no such limit: "max"
        return physical
