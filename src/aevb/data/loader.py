"""Minibatches from tensors in memory."""

from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor

from aevb.data.binarization import bernoulli, generator
from aevb.inputs import to_float, without_labels
from aevb.types import Checked, Count

_ORDER, _NOISE = 0, 1

Item = tuple[Tensor | None, ...]
"""x; x and y; or x, y and c, where y may be None."""


def value_range(x: Tensor) -> tuple[float, float]:
    """The lowest and the highest value of stored x, as in a batch."""
    lowest, highest = to_float(torch.stack(x.aminmax())).tolist()
    return lowest, highest


def range_of_loader(loader: Any) -> tuple[float, float]:
    """The lowest and the highest value of all datapoints of a loader, whose batches are or start with x.

    A loader other than `BatchLoader` is iterated once; the state of torch's generator is restored.
    """
    if isinstance(loader, BatchLoader):
        return value_range(loader.x)
    if not hasattr(loader, "__len__"):
        raise ValueError("likelihood.bounded must be true or false, not auto, where the data loader has no length")
    with torch.random.fork_rng(devices=[]):
        ranges = [value_range(without_labels(batch)) for batch in loader]
    lowest, highest = zip(*ranges, strict=True)
    return min(lowest), max(highest)


def automatic_block_size(device: str, minibatches: int, bytes_of_minibatch: int) -> int:
    """Minibatches of a block: 10, on a GPU as many as pay.

    What the trainer does for a block takes a GPU as long as some ten steps of a small model. A block there has up to
    250 minibatches, of 256 MB at most; a divisor of the epoch's number if one is larger than half of that, since each
    size of a block is captured in a CUDA graph of its own.
    """
    if device != "cuda":
        return 10
    most = max(1, min(250, minibatches, 2**28 // bytes_of_minibatch))
    return next((size for size in range(most, most // 2, -1) if minibatches % size == 0), most)


class BatchLoader(Checked):
    """Iterates over datapoints in memory in minibatches, without workers, per-item Python or a copy of the data set.

    **For evaluation** (`block_size=None`) an item is one minibatch, and every datapoint comes exactly once; the last
    minibatch may be smaller. **For training** (`block_size=K`) an item is a block of up to K minibatches, gathered in
    one operation, so that the cost of the training loop per item is paid once for K steps. All minibatches are full;
    the remaining datapoints of an epoch are dropped.

    **Order.** Epoch e is shuffled on the CPU by a generator seeded with (seed, e), hence equally on every device and
    rank. Each new iterator is the next epoch.

    **Ranks.** In training, the minibatches of the ranks at the same step are disjoint, and together the next
    `world_size * batch_size` datapoints of the common order; all ranks take the same number of steps. In evaluation
    each rank has a disjoint part of the datapoints; the numbers of batches may differ by one.

    **Resuming.** `state_dict()` is the position in the epoch, after the item yielded last (less what `give_back` takes
    from it). A loader given that state continues bit for bit. Lightning saves and restores it with its checkpoints. The
    order is that of all ranks together, so another number of ranks may continue with the same
    `world_size * batch_size`.

    Args:
        x: (N, *shape), as uint8 (of 255), bool or floats.
        y: (N,) labels, if any.
        c: (N, *condition_shape) conditions, if any.
        batch_size: Datapoints in a minibatch of one rank.
        shuffle: Whether each epoch has another order; else that of `x`.
        seed: Seed of orders and draws.
        block_size: Minibatches in an item; None: evaluation.
        binarize: Whether black-and-white values are drawn for each epoch, with x as probabilities. The draws depend on
            (seed, epoch) and on the kind of device.
        noise: (N, *shape) standard deviations of Gaussian noise that is drawn anew for each epoch, of x as floats;
            None: there is none.
        device: Device of the batches; by default that of `x`.
        rank: Rank of this process.
        world_size: Number of processes.
        labelled_per_batch: Training datapoints in a minibatch of one rank whose condition is not NaN, in rotation; the
            others come once in an epoch. 0: as they come.

    A batch is `(x,)`, `(x, y)` or `(x, y, c)`, in the last of which y may be None: x float32 (B, *shape), y (B,) and
    c (B, *condition_shape); in blocks (K, B, *shape), (K, B) and (K, B, *condition_shape).
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor | None = None,
        c: Tensor | None = None,
        *,
        batch_size: Count,
        shuffle: bool = False,
        seed: int = 0,
        block_size: Count | None = None,
        binarize: bool = False,
        noise: Tensor | None = None,
        device: torch.device | str | None = None,
        rank: int = 0,
        world_size: int = 1,
        labelled_per_batch: int = 0,
    ) -> None:
        self.batch_size = batch_size
        self.block_size = block_size
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be between 0 and world_size - 1 = {world_size - 1}, got {rank}")
        if y is not None and len(y) != len(x):
            raise ValueError(f"there are {len(y)} labels for {len(x)} datapoints")
        if c is not None and len(c) != len(x):
            raise ValueError(f"there are {len(c)} conditions for {len(x)} datapoints")
        if block_size is not None and len(x) < batch_size * world_size:
            raise ValueError(f"batch_size must be at most {len(x) // world_size} for the datapoints, got {batch_size}")
        self.x, self.y, self.c = x, y, c
        self.labelled_per_batch = labelled_per_batch
        self.labelled, self.others = torch.arange(0), torch.arange(len(x))
        if labelled_per_batch and c is not None:
            is_labelled = c.reshape(len(c), -1).isfinite().all(1).cpu()
            self.labelled, self.others = is_labelled.nonzero().flatten(), (~is_labelled).nonzero().flatten()
            if not len(self.labelled) or len(self.others) < (batch_size - labelled_per_batch) * world_size:
                raise ValueError(
                    f"there are {len(self.labelled)} datapoints with and {len(self.others)} without a condition, too "
                    f"few for minibatches of {labelled_per_batch} and {batch_size - labelled_per_batch}"
                )
        self.shuffle, self.seed, self.binarize, self.noise = shuffle, seed, binarize, noise
        self.rank, self.world_size = rank, world_size
        self.device = x.device if device is None else torch.device(device)
        self._epoch = 0
        self._position = 0
        self._resume = True

    @property
    def _step(self) -> int:
        """Datapoints per step, of all ranks together."""
        return self.batch_size * self.world_size

    @property
    def _part(self) -> tuple[int, int]:
        """Start and stop of this rank's part of the order in evaluation."""
        n = len(self.x)
        return self.rank * n // self.world_size, (self.rank + 1) * n // self.world_size

    def __len__(self) -> int:
        """The number of items in an epoch, on this rank."""
        if self.block_size is None:
            start, stop = self._part
            return -(-(stop - start) // self.batch_size)
        return -(-(self.epoch_size // self._step) // self.block_size)

    def __iter__(self) -> Iterator[Item]:
        # This runs at the first `next`: iterators that are never used, as Lightning creates, do not count as epochs.
        if not self._resume or self._position >= self.epoch_size:
            self._epoch, self._position = self._epoch + 1, 0
        self._resume = False
        x = self._draw()
        order = self._order()
        yield from self._blocks(x, order) if self.block_size is not None else self._batches(x, order)

    @property
    def epoch_size(self) -> int:
        """Datapoints per epoch, of all ranks together."""
        n = len(self.x)
        if self.block_size is None:
            return n
        new = self._step - self.labelled_per_batch * self.world_size
        return len(self.others) // new * self._step

    def _order(self) -> Tensor | None:
        """The order of all datapoints in the epoch (N,), on the device of the data; None: their own order."""
        if not self.shuffle:
            return None
        draws = generator(self.seed, self._epoch, _ORDER)
        if not self.labelled_per_batch:
            return move(torch.randperm(len(self.x), generator=draws), self.x.device)
        steps, labelled = self.epoch_size // self._step, self.labelled_per_batch
        others = self.others[torch.randperm(len(self.others), generator=draws)]
        times = -(-steps * self.world_size * labelled // len(self.labelled))
        again = [self.labelled[torch.randperm(len(self.labelled), generator=draws)] for _ in range(times)]
        parts = [(torch.cat(again), labelled), (others, self.batch_size - labelled)]
        minibatches = [x[: steps * self.world_size * n].view(steps, self.world_size, n) for x, n in parts]
        return move(torch.cat(minibatches, 2).flatten(), self.x.device)

    def _draw(self) -> Tensor:
        """The data of the epoch (N, *shape): the stored ones, a black-and-white draw of them, or with noise."""
        if not self.binarize and self.noise is None:
            return self.x
        draws = generator(self.seed, self._epoch, _NOISE, device=self.x.device)
        if self.noise is None:
            return bernoulli(self.x, draws)
        return torch.normal(self.x, self.noise, generator=draws)

    def _blocks(self, x: Tensor, order: Tensor | None) -> Iterator[Item]:
        assert self.block_size is not None
        order = torch.arange(len(x), device=x.device) if order is None else order
        mine = order[: self.epoch_size].view(-1, self.world_size, self.batch_size)[:, self.rank]
        used = self._position // self._step
        while used < len(mine):
            # Blocks start at multiples of block_size, and the rest of a cut block is part of the same tensor: rounding
            # may depend on the alignment of a minibatch in memory.
            start = used - used % self.block_size
            index = mine[start : start + self.block_size]
            item = self._item(x, index.reshape(-1), index.shape)
            item = tuple(part if part is None else part[used - start :] for part in item)
            used = start + len(index)
            self._position = used * self._step
            yield item

    def _batches(self, x: Tensor, order: Tensor | None) -> Iterator[Item]:
        start, stop = self._part
        first = -(-self._position // self._step)
        for step, at in enumerate(range(start + first * self.batch_size, stop, self.batch_size), first + 1):
            rows = slice(at, min(at + self.batch_size, stop))
            index = rows if order is None else order[rows]
            item = self._item(x, index, (rows.stop - rows.start,))
            self._position = min(step * self._step, len(x))
            yield item

    def _item(self, x: Tensor, index: Tensor | slice, shape: tuple[int, ...]) -> Item:
        """The datapoints at `index` and what comes with them: leading dimensions `shape`, on the device."""

        def batch(part: Tensor) -> Tensor:
            return move(_take(part, index), self.device).view(*shape, *part.shape[1:])

        item = (to_float(batch(x)), *(part if part is None else batch(part) for part in (self.y, self.c)))
        return item if self.c is not None else item[:2] if self.y is not None else item[:1]

    @property
    def sampler(self) -> Self:
        """Lightning calls `loader.sampler.set_epoch` before each epoch."""
        return self

    batch_sampler = None

    def set_epoch(self, epoch: int) -> None:
        """Let the next iterator start `epoch`, unless the loader is already within it.

        So after an epoch that Lightning ends early (`limit_train_batches`), a resumed run continues with the next one,
        as an uninterrupted run does.
        """
        if epoch != self._epoch:
            self._epoch, self._position, self._resume = epoch, 0, True

    def give_back(self, minibatches: int) -> None:
        """Return the last minibatches of the last block: they become the next block."""
        self._position -= minibatches * self._step

    def state_dict(self) -> dict[str, Any]:
        """The epoch, the position in it (in datapoints of all ranks), and the settings that determine the order.

        `block_size` is not among them: a run may be resumed with another one.
        """
        return {"epoch": self._epoch, "position": self._position, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state; raises a ValueError if it is of another order of the data."""
        different = [
            f"{name} was {state.get(name)} and is {value}"
            for name, value in self._identity().items()
            if state.get(name) != value
        ]
        if different:
            raise ValueError(f"cannot continue in the epoch, as the data have another order: {', '.join(different)}")
        self._epoch, self._position, self._resume = int(state["epoch"]), int(state["position"]), True

    def _identity(self) -> dict[str, Any]:
        stratified = {"labelled_per_batch": self.labelled_per_batch} if self.labelled_per_batch else {}
        return stratified | {
            "datapoints": len(self.x),
            "batch_size": self._step,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "binarize": self.binarize,
        }


def move(rows: Tensor, device: torch.device) -> Tensor:
    """The rows on a device, without a wait for it."""
    if device == rows.device:
        return rows
    # Page-locked memory lets the copy overlap with computation. uint8 has a quarter of the size of floats.
    rows = rows.pin_memory() if device.type == "cuda" and rows.device.type == "cpu" else rows
    return rows.to(device, non_blocking=True)


def _take(values: Tensor, index: Tensor | slice) -> Tensor:
    # `index_select` copies whole rows; `values[index]` takes nine times as long.
    return values[index] if isinstance(index, slice) else values.index_select(0, index)
