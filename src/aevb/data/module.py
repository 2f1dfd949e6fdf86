"""The base class of data sets in memory."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, Self

import pytorch_lightning as pl
import torch
from torch import Tensor

from aevb.data.binarization import Binarization, bernoulli, generator, threshold
from aevb.data.labels import balanced, count_classes, hide, one_hot
from aevb.data.loader import BatchLoader, automatic_block_size, value_range
from aevb.data.members import MemberLoader
from aevb.errors import ConfigError
from aevb.inputs import to_float
from aevb.likelihoods.base import shortest
from aevb.types import Checked, Count, Seed, Shape

_SPLIT, _SUBSET, _BINARIZATION, _EXAMPLES = range(4)


class Split(NamedTuple):
    """Datapoints x (N, C, H, W), as uint8 (of 255), bool or float32, with optional labels and conditions.

    These are labels y (N,), int64, or (N, F) of F factors, of which the first counts as the class; and conditions
    c (N, *condition_shape), floats, which a conditional model takes.
    """

    x: Tensor
    y: Tensor | None = None
    c: Tensor | None = None

    @property
    def classes(self) -> Tensor | None:
        """The labels (N,), of several factors the first."""
        return self.y if self.y is None or self.y.ndim == 1 else self.y[:, 0]

    def take(self, index: Tensor | slice) -> Self:
        """The datapoints at `index`, in this order."""
        return self._map(lambda part: part[index])

    def to(self, device: torch.device | str) -> Self:
        """The same datapoints on `device`."""
        return self._map(lambda part: part.to(device))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        x, *others = self
        return type(self)(change(x), *(part if part is None else change(part) for part in others))

    def chunks(self, size: int) -> Iterator[Self]:
        """Consecutive parts of at most `size` datapoints."""
        for start in range(0, len(self.x), size):
            yield self.take(slice(start, start + size))


class Splits(NamedTuple):
    """The disjoint parts of a data set."""

    train: Split
    val: Split
    test: Split


def split_at_random(data: Split, val: int, test: int, seed: int) -> Splits:
    """Split by a seeded permutation into `val`, `test` and the remaining training datapoints."""
    order = torch.randperm(len(data.x), generator=generator(seed, _SPLIT))
    return Splits(*(data.take(part) for part in order.split([len(order) - val - test, val, test])))


class InMemoryDataModule(Checked, pl.LightningDataModule, ABC):
    """A data set in memory, moved to the device once if it fits there.

    A data set is a subclass with two methods: `prepare_data` downloads files (several processes may call it at the same
    time), `load` returns the splits on the CPU.

    Training batches come in blocks, x (K, B, C, H, W), y (K, B) and c (K, B, *condition_shape), see `BatchLoader`;
    batches of the other splits are x (B, C, H, W), y (B,) and c (B, *condition_shape). x is float32; without labels or
    conditions where the data set has none.

    Binarization turns grey values into black and white:

    - `none`: unchanged values.
    - `threshold`: white above one half.
    - `static`: each value is drawn once, white with the probability of its grey value (Salakhutdinov and Murray,
      On the quantitative analysis of deep belief networks, ICML 2008).
    - `dynamic`: the same, but the training set is redrawn for each epoch (Burda, Grosse and Salakhutdinov,
      Importance weighted autoencoders, ICLR 2016). Validation and test set are drawn once, as for `static`, so that
      results of different epochs and runs can be compared.

    Draws that are made once, the splits and the subset depend only on `split_seed`, so they are the same on every
    machine and for every `seed`.

    A conditional model takes the data set's own conditions or, with `condition="labels"`, labels as one-hot vectors.
    With `num_labels`, the labels of all other training datapoints are hidden: their conditions are NaN.

    Args:
        shape: (C, H, W) of a datapoint; None: as loaded.
        batch_size: Datapoints per training step, of all ranks together.
        eval_batch_size: Batch size of validation and test, on one rank.
        train_size: Size of a seeded subset for training; smaller subsets are part of larger ones. None: all.
        binarization: See above.
        seed: Seed of the order of the training set and of dynamic binarization.
        split_seed: Seed of everything that is drawn once.
        block_size: Training minibatches in one batch of the trainer; `auto`: 10, on a GPU up to 250, see
            `automatic_block_size`.
        condition: `labels`, or None: the conditions of the data set, if any.
        num_labels: Training datapoints with a known label, as many of each class, drawn by `split_seed`. None: all.
        labels_per_batch: Datapoints with a known label in each minibatch, in rotation; an epoch has every other one
            once. None: as many as there happen to be.
    """

    def __init__(
        self,
        shape: Shape | None = None,
        batch_size: Count = 100,
        eval_batch_size: Count = 1000,
        train_size: Count | None = None,
        binarization: Binarization = "none",
        seed: Seed = 0,
        split_seed: Seed = 0,
        block_size: Count | Literal["auto"] = "auto",
        condition: Literal["labels"] | None = None,
        num_labels: Count | None = None,
        labels_per_batch: Count | None = None,
    ) -> None:
        super().__init__()
        if (condition is None and num_labels is not None) or (num_labels is None and labels_per_batch is not None):
            raise ValueError(
                "data.labels_per_batch needs data.num_labels, and that data.condition=labels, as model=semi_supervised "
                "sets it"
            )
        self.condition = condition
        self.num_labels = num_labels
        self.labels_per_batch = labels_per_batch
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.block_size = block_size
        self.binarization = binarization
        self.seed = seed
        self.split_seed = split_seed
        self._wanted_shape = None if shape is None else tuple(shape)
        self._wanted_train_size = train_size
        self._splits: Splits | None = None
        self.noise: Tensor | None = None
        """Standard deviations (N, *shape) of noise on the training set, drawn anew for each epoch; `load` sets it."""
        self.num_members = 1
        """Runs that train together, each in an order of its own; the trainer's module sets it."""
        self.fingerprint: dict[str, str] = {}

    @abstractmethod
    def load(self) -> Splits:
        """The data set on the CPU."""

    def setup(self, stage: str | None = None) -> None:
        """Load the data at the first call, and move them to the device of the trainer, if any."""
        if self._splits is None:
            self._splits = self._prepared(self.load())
        device = self._device()
        if device != self._splits.train.x.device and self._fits(device):
            self._splits = Splits(*(split.to(device) for split in self._splits))

    @property
    def splits(self) -> Splits:
        """The splits, limited to `train_size` and binarized (unless dynamically), on the device."""
        if self._splits is None:
            self.setup()
        assert self._splits is not None
        return self._splits

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of a datapoint."""
        return self._wanted_shape or tuple(self.splits.train.x.shape[1:])

    @property
    def condition_shape(self) -> tuple[int, ...] | None:
        """Shape of one datapoint's condition; None where there are none."""
        c = self.splits.train.c
        return None if c is None else tuple(c.shape[1:])

    @property
    def train_size(self) -> int:
        """The number of training datapoints."""
        return len(self.splits.train.x)

    @property
    def value_range(self) -> tuple[float, float]:
        """The lowest and the highest value of the training set, as in a batch."""
        return value_range(self.splits.train.x)

    @property
    def value_names(self) -> list[str]:
        """Names of the values of x, in order, such as words; none: they have none."""
        return []

    @property
    def log_scale(self) -> float:
        """Σ log s over the dimensions of data standardised as x = (raw − m) / s: log p(raw) = log p(x) − Σ log s."""
        return 0.0

    @property
    def is_uint8(self) -> bool:
        """Whether the stored values are uint8, which become x / 255 in a batch."""
        return self.splits.train.x.dtype == torch.uint8

    def examples(self, split: str, n: int) -> Split:
        """Fixed datapoints of a split, x float32 as in a batch; all if there are fewer than n.

        They are the same in each run, and the first of a larger `n`. Under dynamic binarization, those of the training
        set are a draw that training does not see.
        """
        part: Split = getattr(self.splits, split)
        if split == "train" and self.binarization == "dynamic":
            part = part._replace(x=bernoulli(part.x, generator(self.split_seed, _EXAMPLES, 0, device=part.x.device)))
        order = torch.randperm(len(part.x), generator=generator(self.split_seed, _EXAMPLES))
        chosen = part.take(order[:n].to(part.x.device))
        chosen = chosen.to(self._device())
        return chosen._replace(x=to_float(chosen.x))

    def train_dataloader(self) -> BatchLoader:
        """Blocks of full minibatches, in another order in each epoch; of each minibatch, this rank's part.

        Where several members train together, a `MemberLoader`: the seed of the order is one more for each member.
        """
        loaders = [self._training_loader(self.seed + member) for member in range(self.num_members)]
        return loaders[0] if self.num_members == 1 else MemberLoader(loaders)

    def _training_loader(self, seed: int) -> BatchLoader:
        rank, world_size = self._rank()
        require_equal_shares(self.batch_size, world_size)
        return BatchLoader(
            *self.splits.train,
            batch_size=self.batch_size // world_size,
            shuffle=True,
            seed=seed,
            block_size=self._block_size(),
            binarize=self.binarization == "dynamic",
            noise=None if self.noise is None else self.noise.to(self.splits.train.x.device),
            device=self._device(),
            rank=rank,
            world_size=world_size,
            labelled_per_batch=self._labels_per_rank(world_size),
        )

    def _labels_per_rank(self, world_size: int) -> int:
        per_rank, rest = divmod(self.labels_per_batch or 0, world_size)
        if rest or (self.labels_per_batch and self.labels_per_batch >= self.batch_size):
            raise ValueError(
                f"data.labels_per_batch must be below data.batch_size, {self.batch_size}, and a multiple of "
                f"{world_size}, the number of processes, got {self.labels_per_batch}"
            )
        return per_rank

    def val_dataloader(self) -> BatchLoader:
        """Every validation datapoint once, in order."""
        return self._evaluation_loader(self.splits.val)

    def test_dataloader(self) -> BatchLoader:
        """Every test datapoint once, in order."""
        return self._evaluation_loader(self.splits.test)

    def state_dict(self) -> dict[str, Any]:
        """The fingerprint of the data; the state of the loader has the position in the epoch."""
        return {"fingerprint": self.fingerprint}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Require the same data when training continues."""
        if self.trainer is not None and self.trainer.state.fn == "fit":
            self.require_same({type(self).__qualname__: state_dict})

    def require_same(self, checkpoint: Mapping[str, Any]) -> None:
        """Raise a ConfigError where a checkpoint is from a run with other data.

        Args:
            checkpoint: As Lightning writes it, with the `state_dict` of the data module under the name of its class.
        """
        self.setup()
        state = checkpoint.get(type(self).__qualname__)
        known = state.get("fingerprint") if isinstance(state, Mapping) else None
        known = known if isinstance(known, Mapping) else {}
        different = [name for name, digest in self.fingerprint.items() if known.get(name) != digest]
        if different:
            raise ConfigError(
                f"data: {' and '.join(different)} data are not those that the run was trained with; restore the file"
                " and the settings of data (train_size, split_seed, binarization), or train a new run"
            )

    def _evaluation_loader(self, split: Split) -> BatchLoader:
        rank, world_size = self._rank()
        if len(split.x) < world_size:
            raise ConfigError(
                f"trainer.devices: {world_size} processes cannot share {len(split.x)} datapoint(s) of validation or"
                " test; use fewer processes, or a larger split"
            )
        return BatchLoader(
            *split, batch_size=self.eval_batch_size, device=self._device(), rank=rank, world_size=world_size
        )

    def _prepared(self, loaded: Splits) -> Splits:
        """The splits, checked, binarized and limited to `train_size`."""
        shape = tuple(loaded.train.x.shape[1:])
        if self._wanted_shape not in (None, shape):
            got = list(self._wanted_shape or ())
            raise ValueError(f"data.shape must be that of the data, {list(shape)}, got {got}")
        splits = Splits(*(self._binarized(split, number) for number, split in enumerate(loaded)))
        splits = splits._replace(train=self._subset(splits.train))
        if self.condition == "labels":
            splits = self._with_labels(splits)
        if self.batch_size > len(splits.train.x):
            raise ValueError(
                f"data.batch_size must be at most {len(splits.train.x)}, the size of the training set,"
                f" got {self.batch_size}"
            )
        self.fingerprint = {name: self._digest(split) for name, split in zip(splits._fields, splits, strict=True)}
        return splits

    def _with_labels(self, splits: Splits) -> Splits:
        """The splits with one-hot labels as conditions, those of the training set hidden but for `num_labels`."""
        ys = [split.classes for split in splits if split.classes is not None]
        if any(split.c is not None for split in splits):
            raise ValueError("data.condition must be null: the data have conditions of their own; got labels")
        if len(ys) < len(splits):
            raise ValueError("data.condition=labels needs labels, and the data have none")
        classes = count_classes(ys[0], ys[1:])
        cs = [one_hot(y, classes, name) for y, name in zip(ys, splits._fields, strict=True)]
        if self.num_labels is not None:
            cs[0] = hide(cs[0], balanced(ys[0], self.num_labels, self.split_seed))
        return Splits(*(split._replace(c=c) for split, c in zip(splits, cs, strict=True)))

    def _digest(self, split: Split) -> str:
        """A hash of datapoints, labels, conditions and the kind of binarization."""
        digest = hashlib.sha256(self.binarization.encode())
        for tensor in split:
            if tensor is not None:
                digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()

    def _binarized(self, split: Split, number: int) -> Split:
        if self.binarization == "none":
            return split
        x = split.x
        if x.is_floating_point() and not (x.min() >= 0 and x.max() <= 1):
            raise ValueError(
                f"data.binarization={self.binarization} needs values in [0, 1], the data have values in"
                f" [{shortest(float(x.min()))}, {shortest(float(x.max()))}]; rescale them or set data.binarization=none"
            )
        if self.binarization == "threshold":
            return split._replace(x=threshold(x))
        if self.binarization == "dynamic" and number == 0:
            return split
        return split._replace(x=bernoulli(x, generator(self.split_seed, _BINARIZATION, number)))

    def _subset(self, train: Split) -> Split:
        n, wanted = len(train.x), self._wanted_train_size
        if wanted is None:
            return train
        if wanted > n:
            raise ValueError(f"data.train_size must be at most {n}, the size of the training set, got {wanted}")
        order = torch.randperm(n, generator=generator(self.split_seed, _SUBSET))
        chosen = order[:wanted].sort().values
        self.noise = None if self.noise is None else self.noise[chosen]
        return train.take(chosen)

    def _rank(self) -> tuple[int, int]:
        """This process's rank and the world size."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def _block_size(self) -> int:
        """The minibatches of a block."""
        if self.block_size != "auto":
            return self.block_size
        x, (_, world_size) = self.splits.train.x, self._rank()
        bytes_of_minibatch = 4 * x[0].numel() * self.batch_size // world_size
        return automatic_block_size(self._device().type, len(x) // self.batch_size, bytes_of_minibatch)

    def _fits(self, device: torch.device) -> bool:
        """Whether the data fit in half of the free memory of a GPU."""
        if device.type != "cuda":
            return True
        assert self._splits is not None
        free, _ = torch.cuda.mem_get_info(device)
        # Dynamic binarization needs the training set, a draw of it, and temporarily random numbers.
        copies = (3 if self.binarization == "dynamic" else 1, 1, 1)
        size = sum(c * split.x.nbytes for c, split in zip(copies, self._splits, strict=True))
        return size < free / 2


def require_equal_shares(batch_size: int, num_processes: int) -> None:
    """Raise a `ConfigError` where the processes of a run cannot share a minibatch equally."""
    if batch_size % num_processes:
        raise ConfigError(
            f"data.batch_size must be a multiple of {num_processes}, the number of processes, got {batch_size}"
        )
