"""The best loop over tensors in memory that we can write in plain PyTorch: no data loader, and fused Adagrad.

torch has no fused Adagrad on a GPU; there it is the one that updates all parameters by the same kernels (`foreach`).

--compile    put the step's loss and gradients under torch.compile
"""

import sys
import time

import torch
import torch.nn.functional as F
from common import Arguments, Result, finish, images
from torch import Tensor, nn


class VAE(nn.Module):
    """The paper's model, with two Gaussian parameters per latent dimension from one layer."""

    def __init__(self, pixels: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.encoder, self.posterior = nn.Linear(pixels, hidden), nn.Linear(hidden, 2 * latent)
        self.decoder, self.likelihood = nn.Linear(latent, hidden), nn.Linear(hidden, pixels)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """The negative ELBO per datapoint in nats: x (B, pixels), noise (L, B, latent)."""
        mean, log_variance = self.posterior(torch.tanh(self.encoder(x))).chunk(2, -1)
        z = torch.addcmul(mean, (0.5 * log_variance).exp(), noise)
        logits = self.likelihood(torch.tanh(self.decoder(z)))
        cross_entropy = F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="sum") / len(noise)
        kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
        return (cross_entropy + kl) / len(x)


def main(a: Arguments) -> Result:
    torch.manual_seed(a.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train, test = (torch.from_numpy(x).flatten(1).to(device) for x in images(a))
    model = VAE(train.shape[1], a.hidden, a.latent).to(device)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=a.lr, fused=True if device == "cpu" else None)
    loss_of = torch.compile(model) if COMPILED else model

    def step(x: Tensor) -> Tensor:
        loss = loss_of(x, torch.randn(a.num_samples, len(x), a.latent, device=device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def epoch() -> int:
        order = torch.randperm(len(train), device=device)
        for index in order[: len(train) // a.batch * a.batch].view(-1, a.batch):
            step(train.index_select(0, index).float().div_(255))
        return len(order) // a.batch * a.batch

    if COMPILED:
        step(train[: a.batch].float().div_(255))
    seen, start = 0, time.perf_counter()
    while seen < a.samples:
        seen += epoch()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    with torch.no_grad():
        x = test.float() / 255
        return Result(seen / seconds, -float(model(x, torch.randn(1, len(x), a.latent, device=device))))


if __name__ == "__main__":
    COMPILED = "--compile" in sys.argv
    if COMPILED:
        sys.argv.remove("--compile")
    finish(main)
