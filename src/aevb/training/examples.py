"""Datapoints for callbacks, from a data module of `aevb` or from plain loaders."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from aevb.data import BatchLoader, InMemoryDataModule, Split
from aevb.inputs import as_block, block_of_conditions
from aevb.training.module import AEVB

NAMES = {"train": "training data", "val": "validation data", "test": "test data"}


def splits(trainer: pl.Trainer) -> tuple[str, ...]:
    """The training split and a held-out split: `test` of a data module of `aevb`, else `val` if there is one."""
    if isinstance(trainer.datamodule, InMemoryDataModule):  # type: ignore[attr-defined]
        return ("train", "test")
    return ("train", "val") if validation_loader(trainer) is not None else ("train",)


def examples(trainer: pl.Trainer, module: AEVB, split: str, n: int) -> Split:
    """The same n datapoints at each call, with labels and conditions where there are some; all where there are fewer.

    They are drawn at random from a data module of `aevb`, and are the first ones of other loaders.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    if isinstance(data, InMemoryDataModule):
        return data.examples(split, n)
    return first(trainer.train_dataloader if split == "train" else validation_loader(trainer), module, n)


def validation_loader(trainer: pl.Trainer) -> Any:
    """The first validation loader; None where there is none."""
    loaders = trainer.val_dataloaders
    return loaders[0] if isinstance(loaders, list) and loaders else loaders or None


def first(loader: Any, module: AEVB, n: int) -> Split:
    """The first n datapoints of a loader, with labels and conditions; the state of torch's generator is restored."""
    shape, weight = module.vae.p.data_shape, module.vae.p.head.layer.weight
    batches: Any = loader
    if isinstance(loader, BatchLoader):
        batches = [Split(loader.x, loader.y, loader.c).take(slice(n))]
    xs: list[Tensor] = []
    ys: list[Tensor] = []
    cs: list[Tensor] = []
    with torch.random.fork_rng(devices=[]):
        for batch in batches:
            block = as_block(batch, shape, weight)
            xs.append(block.flatten(0, 1))
            if module.vae.condition_shape is not None:
                c = block_of_conditions(batch, module.vae.condition_shape, block, module.vae.condition_is_optional)
                cs += [] if c is None else [c.flatten(0, 1)]
            if isinstance(batch, tuple | list) and len(batch) > 1 and isinstance(batch[1], Tensor):
                ys.append(batch[1].flatten().to(weight.device))
            if sum(map(len, xs)) >= n:
                break
    x = torch.cat(xs)[:n]
    y = torch.cat(ys)[: len(x)] if ys else None
    return Split(x, y if y is not None and len(y) == len(x) else None, torch.cat(cs)[:n] if cs else None)
