"""Lightning as its tutorials write it: torchvision's MNIST and transforms, a DataLoader, automatic optimization."""

import time

import pytorch_lightning as pl
import torch
from common import Arguments, Result, finish, torchvision_mnist
from plain_pytorch import VAE
from torch import Tensor
from torch.utils.data import DataLoader


class LitVAE(pl.LightningModule):
    """The shared model as a LightningModule."""

    def __init__(self, a: Arguments) -> None:
        super().__init__()
        self.a = a
        self.model = VAE(784, a.hidden, a.latent)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x = batch[0].flatten(1)
        return self.model(x, torch.randn(1, len(x), self.a.latent, device=x.device))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        loss = self.loss(batch)
        self.log("train_loss", loss)
        return loss

    def test_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self.log("test_loss", self.loss(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adagrad(self.parameters(), lr=self.a.lr)


class Clock(pl.Callback):
    """Times the training loop."""

    def on_train_start(self, *_: object) -> None:
        self.start = time.perf_counter()

    def on_train_end(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self.start


def main(a: Arguments) -> Result:
    pl.seed_everything(a.seed, verbose=False)
    train, test = torchvision_mnist(a)
    clock = Clock()
    trainer = pl.Trainer(
        max_steps=a.samples // a.batch,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        devices=1,
    )
    module = LitVAE(a)
    trainer.fit(module, DataLoader(train, batch_size=a.batch, shuffle=True))
    result = trainer.test(module, DataLoader(test, batch_size=1000), verbose=False)
    return Result(a.samples / clock.seconds, -result[0]["test_loss"])


if __name__ == "__main__":
    finish(main)
