"""Several runs trained as one batched model by torch.func, against one run alone: what a sweep over seeds could gain.

    python benchmarks/batched_runs.py

Both take eager steps of SGVB and Adagrad, on random images; each of n batched runs has weights, minibatches and noise
of its own. A step of all n and a step of one are timed in turn, and medians compared.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from aevb.likelihoods import Bernoulli
from aevb.networks import MLPDecoder, MLPEncoder
from aevb.objectives import SGVB
from aevb.posteriors import DiagonalGaussian
from aevb.priors import StandardNormal
from aevb.vae import VAE

SHAPES = {"digits, 200 units": ((1, 8, 8), 200, 2), "MNIST, 500 units": ((1, 28, 28), 500, 20)}


class Loss(nn.Module):
    """The loss of a minibatch as a module of both models, as torch.func wants it."""

    def __init__(self, shape: tuple[int, ...], hidden: int, latent_dim: int) -> None:
        super().__init__()
        encoder, decoder = (partial(part, hidden=[hidden]) for part in (MLPEncoder, MLPDecoder))
        model = VAE(latent_dim, shape, encoder, DiagonalGaussian, StandardNormal, decoder, Bernoulli)
        self.p, self.q, self.objective = model.p, model.q, SGVB(weight_prior=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.objective(self.p, self.q, x).loss


def one_run(loss: Loss, x: Tensor) -> Callable[[], None]:
    """A step of a run alone."""
    optimizer = torch.optim.Adagrad(loss.parameters(), lr=0.01, fused=x.device.type == "cpu" or None)

    def step() -> None:
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()

    return step


def batched_runs(loss: Loss, x: Tensor) -> Callable[[], None]:
    """A step of as many runs as x (runs, B, *data_shape) has minibatches."""
    weights, buffers = stack_module_state([copy.deepcopy(loss) for _ in x])
    optimizer = torch.optim.Adagrad(weights.values(), lr=0.01, fused=x.device.type == "cpu" or None)

    def value(weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(loss, (weights, buffers), (x,))

    gradients = vmap(grad(value), randomness="different")

    def step() -> None:
        # torch.distributions draws in place, which torch.func cannot make different for each run.
        with patch("torch.distributions.normal._standard_normal", torch.randn):
            found = gradients(weights, buffers, x)
        for name, gradient in found.items():
            weights[name].grad = gradient
        optimizer.step()

    return step


def seconds(step: Callable[[], None], device: torch.device, steps: int) -> float:
    """How long a step takes."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default="2,4,8,16", help="how many at once, by commas (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--steps", type=int, default=10, help="in one timing")
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{device}, {torch.get_num_threads()} threads, minibatches of {arguments.batch}")
    print("| model | runs | ms, one step of one | one step of all | faster than one after the other by |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for title, (shape, hidden, latent_dim) in SHAPES.items():
        torch.manual_seed(0)
        loss = Loss(shape, hidden, latent_dim).to(device)
        for runs in map(int, arguments.runs.split(",")):
            x = torch.rand(runs, arguments.batch, *shape, device=device)
            ways = one_run(loss, x[0]), batched_runs(loss, x)
            for step in ways:  # the first one is slower
                step()
            timings = [[seconds(step, device, arguments.steps) for step in ways] for _ in range(arguments.repeats)]
            one, all_of_them = (1000 * statistics.median(column) for column in zip(*timings, strict=True))
            print(f"| {title} | {runs} | {one:.2f} | {all_of_them:.2f} | {runs * one / all_of_them:.2f}× |")


if __name__ == "__main__":
    main()
