"""Short trainings of small models, by each way to execute a step."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from aevb.training.module import AEVB
from aevb.vae import VAE

from ...small import quiet_trainer, small_model

SHAPE, BLOCK, BATCH, BLOCKS = (1, 4, 4), 5, 10, 4

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adagrad": partial(torch.optim.Adagrad, lr=0.05, fused=True),
    "adam": partial(torch.optim.Adam, lr=0.01, fused=True),
    "sgd": partial(torch.optim.SGD, lr=0.01, momentum=0.9),
    "plain_sgd": partial(torch.optim.SGD, lr=0.01),
}


HALVED = partial(LambdaLR, lr_lambda=lambda epoch: 1.0 - 0.5 * epoch)


class Watch(pl.Callback):
    """Keeps what training reports, and the runner."""

    def __init__(self) -> None:
        self.metrics: list[Tensor] = []
        self.runner: Any = None

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.metrics += [values.clone() for values in outputs.values()]
        self.runner = module.runners[0]


def train(
    objective: Any,
    model: Callable[[], VAE],
    optimizer: str,
    steps: str = "recorded",
    options: Any = None,
    **settings: Any,
) -> tuple[AEVB, Watch, pl.Trainer]:
    torch.manual_seed(0)
    objective.num_data = 400
    callbacks, last = settings.pop("callbacks", []), settings.pop("last", 0)
    resume = settings.pop("resume", None)
    module = AEVB(model(), objective, OPTIMIZERS[optimizer], steps=steps, **settings)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(2, (BLOCKS, BLOCK, BATCH, *module.vae.p.data_shape), generator=generator).float()
    blocks = [*x, x[0, :1, :last]] if last else [*x]
    shape = module.vae.condition_shape
    c = () if shape is None else (None, torch.randint(1, 3, (BLOCK, BATCH, *shape), generator=generator).float())
    watch = Watch()
    trainer = quiet_trainer(**{"max_epochs": 2, "callbacks": [watch, *callbacks]} | (options or {}))
    trainer.fit(module, DataLoader([(block, *c) for block in blocks], batch_size=None), ckpt_path=resume)
    return module, watch, trainer


def assert_same(one: tuple[AEVB, Watch, pl.Trainer], other: tuple[AEVB, Watch, pl.Trainer]) -> None:
    (a, watch_a, trainer_a), (b, watch_b, trainer_b) = one, other
    states = [*a.state_dict().items()], [*b.state_dict().items()]
    for (name, left), (_, right) in zip(*states, strict=True):
        assert torch.equal(left, right), name
    for left, right in zip(watch_a.metrics, watch_b.metrics, strict=True):
        assert torch.equal(left, right)
    slots = [
        [value for state in trainer.optimizers[0].state.values() for value in state.values() if value is not None]
        for trainer in (trainer_a, trainer_b)
    ]
    assert all(torch.equal(left, right) for left, right in zip(*slots, strict=True))
    assert trainer_a.global_step == trainer_b.global_step


class Dropped(nn.Module):
    """A backbone with dropout and running averages."""

    def __init__(self, backbone: nn.Module, features: int) -> None:
        super().__init__()
        self.backbone, self.drop, self.norm = backbone, nn.Dropout(0.2), nn.BatchNorm1d(features)
        self.out_shape = backbone.out_shape

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.drop(self.backbone(x)))


def dropped_model() -> VAE:
    made = small_model(SHAPE)
    made.q.encoder = Dropped(made.q.encoder, 10)
    return made


def assert_near(one: tuple[AEVB, Watch, pl.Trainer], other: tuple[AEVB, Watch, pl.Trainer]) -> None:
    """The same up to the rounding of learning rates and updates."""
    (a, watch_a, trainer_a), (b, watch_b, trainer_b) = one, other
    torch.testing.assert_close(a.state_dict(), b.state_dict(), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(watch_a.metrics, watch_b.metrics, rtol=1e-3, atol=1e-4)
    assert trainer_a.global_step == trainer_b.global_step
