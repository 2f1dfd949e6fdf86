"""Ctrl-C and SIGTERM: finish the block, save a checkpoint and stop."""

import signal
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from torch.distributed import ReduceOp, all_reduce

from aevb.errors import Interrupted
from aevb.training.callbacks.checkpoint import Checkpoint
from aevb.training.module import AEVB

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption(pl.Callback):
    """Saves `last.ckpt` and raises `Interrupted` at the end of the block in which a signal arrives.

    A second signal of the same kind has its default effect. When one of several ranks receives a signal, all stop at
    the end of the same block.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.received: int | None = None
        self.previous: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        self.previous = {number: signal.signal(number, self.receive) for number in SIGNALS}

    def receive(self, signum: int, frame: FrameType | None) -> None:
        """Record the signal, and restore the previous handler for the next one."""
        self.received = signum
        signal.signal(signum, self.previous.pop(signum, signal.SIG_DFL))

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self.stop_if_received(trainer, module)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        self.stop_if_received(trainer, module)

    def stop_if_received(self, trainer: pl.Trainer, module: AEVB) -> None:
        """Save and raise if a signal has been received."""
        received = self.received or 0
        if trainer.world_size > 1:
            of_all = torch.tensor(received, device=module.device)
            all_reduce(of_all, ReduceOp.MAX)
            received = int(of_all)  # later signals count for the next block
        if received:
            self.checkpoint.save(trainer, module)
            raise Interrupted(received, module.samples_seen)

    def teardown(self, trainer: pl.Trainer, module: Any, stage: str) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}
