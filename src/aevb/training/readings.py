"""Values on a device that Python looks at without waiting for the device."""

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from aevb.errors import NonFiniteLossError

ASYNCHRONOUS = ("cuda",)
"""Devices on which Python need not wait for a copy."""


class Readings:
    """Values that are on their way from the device to Python.

    To look at a value on a GPU, Python waits for all that it has launched, and the GPU then for Python to launch more.
    So a copy of a block's values is launched behind the block, and looked at when the next block has been launched, or
    before anything is made of the model: a checkpoint, a validation, a picture. On a CPU this is at once.
    """

    def __init__(self) -> None:
        self.pending: deque[tuple[Callable[[], Tensor], Callable[[Tensor], None]]] = deque()

    def add(self, values: Tensor, use: Callable[[Tensor], None]) -> None:
        """Call `use` with values on the CPU: on a GPU in `settle`, after all that were added before, else now.

        Args:
            values: Of a block that has been launched.
            use: What Python makes of them. It may raise an error.
        """
        if values.device.type in ASYNCHRONOUS:
            self.pending.append((start_copy(values), use))
        else:
            use(values)

    def settle(self) -> None:
        """Wait for the values added so far, and use them."""
        while self.pending:
            arrived, use = self.pending.popleft()
            use(arrived())


def start_copy(values: Tensor) -> Callable[[], Tensor]:
    """Launch a copy of values to the CPU; returns what waits for it."""
    copy = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    copy.copy_(values.detach(), non_blocking=True)
    arrival = torch.cuda.Event()
    arrival.record(torch.cuda.current_stream(values.device))

    def arrived() -> Tensor:
        arrival.synchronize()
        return copy

    return arrived


def require_finite(losses: Tensor, samples: int, batch_size: int) -> None:
    """Raise `NonFiniteLossError`, naming the first step of a block whose loss is not finite.

    Args:
        losses: (K,), or (K, R) of each member.
        samples: Training samples before the block.
        batch_size: Training samples of a minibatch, over all ranks.
    """
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        step, *member = bad[0].tolist()
        of = f" of member {member[0]}" if member else ""
        raise NonFiniteLossError(
            f"the loss{of} became {float(losses[tuple(bad[0])])} at {samples + step * batch_size:,} samples; "
            "lower optimizer.lr, or check the data and the likelihood's settings"
        )
