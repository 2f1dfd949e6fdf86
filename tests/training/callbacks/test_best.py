"""The best weights in memory are those of `best.ckpt`."""

from functools import partial

import pytorch_lightning as pl
import torch

from aevb.data import Digits
from aevb.objectives import SGVB
from aevb.training.callbacks import Checkpoint
from aevb.training.callbacks.best import KeepBest
from aevb.training.module import AEVB

from ...small import quiet_trainer, small_model


class Spoil(pl.Callback):
    """Makes the model a worse one after three epochs."""

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == 3:
            with torch.no_grad():
                module.vae.p.head.layer.bias.add_(10)


def test_best_weights_are_those_of_the_checkpoint(tmp_path):
    module = AEVB(small_model((1, 8, 8)), SGVB(), partial(torch.optim.Adagrad, lr=0.02))
    best, checkpoint = KeepBest(), Checkpoint(tmp_path)
    quiet_trainer(max_epochs=4, callbacks=[best, checkpoint, Spoil()], num_sanity_val_steps=1).fit(module, Digits())
    stored = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert best.elbo == checkpoint.best_elbo
    assert all(torch.equal(weight, best.weights[name]) for name, weight in stored["state_dict"].items())
    assert stored["samples"] < module.samples_seen
