"""Plain PyTorch with 50 training steps in a CUDA graph, as one writes it by hand for one model.

On a CPU, which has no such graphs, the steps are called one after the other.

--compile          torch.compile of the whole step: loss, gradients and the update
--convolutional    convolutions around the hidden layers, channels last, products and convolutions in bf16
--iwae             the importance weighted bound of --num-samples draws of z
"""

import math
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from common import Arguments, Result, finish, images
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

STEPS = 50
SIDE, CHANNELS = 28, (32, 64)
Tensors = dict[str, Tensor]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def dense(a: Arguments) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder of the paper's model: one hidden layer each."""
    encoder = nn.Sequential(nn.Linear(SIDE**2, a.hidden), nn.Tanh(), nn.Linear(a.hidden, 2 * a.latent))
    return encoder, nn.Sequential(nn.Linear(a.latent, a.hidden), nn.Tanh(), nn.Linear(a.hidden, SIDE**2))


def convolutional(a: Arguments) -> tuple[nn.Module, nn.Module]:
    """The same with two convolutions before the encoder's hidden layer, and two after the decoder's."""
    few, many = CHANNELS
    maps = (many, SIDE // 4, SIDE // 4)
    down = partial(nn.Conv2d, kernel_size=3, stride=2, padding=1)
    up = partial(nn.ConvTranspose2d, kernel_size=4, stride=2, padding=1)
    encoder = nn.Sequential(
        nn.Unflatten(-1, (1, SIDE, SIDE)), down(1, few), nn.Tanh(), down(few, many), nn.Tanh(), nn.Flatten(),
        nn.Linear(math.prod(maps), a.hidden), nn.Tanh(), nn.Linear(a.hidden, 2 * a.latent),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(a.latent, a.hidden), nn.Tanh(), nn.Linear(a.hidden, math.prod(maps)), nn.Unflatten(-1, maps),
        nn.Tanh(), up(many, few), nn.Tanh(), up(few, few), nn.Tanh(), nn.Conv2d(few, 1, 1), nn.Flatten(),
    )  # fmt: skip
    return encoder, decoder


class VAE(nn.Module):
    """The negative bound in nats per datapoint: x (B, pixels), noise (L, B, latent) → ()."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, half: bool, iwae: bool) -> None:
        super().__init__()
        self.encoder, self.decoder, self.half, self.iwae = encoder, decoder, half, iwae

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        with torch.autocast(DEVICE, torch.bfloat16) if self.half else nullcontext():
            mean, log_variance = self.encoder(x).float().chunk(2, -1)
            z = torch.addcmul(mean, (0.5 * log_variance).exp(), noise)
            logits = self.decoder(z.flatten(0, 1)).float().view(*z.shape[:2], -1)
        log_likelihood = -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
        if self.iwae:
            log_ratio = 0.5 * (noise.square() + log_variance - z.square()).sum(-1)  # log p(z) − log q(z|x)
            return math.log(len(noise)) - (log_likelihood + log_ratio).logsumexp(0).mean()
        kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(-1)
        return (kl - log_likelihood.mean(0)).mean()


def capture(block: Callable[[], None]) -> Callable[[], None]:
    """A function that repeats what `block` launches, by a CUDA graph."""
    if DEVICE == "cpu":
        return block
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        block()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        block()
    return graph.replay


def main(a: Arguments) -> Result:
    torch.manual_seed(a.seed)
    torch.set_float32_matmul_precision("high")  # as the peers of JAX, which uses TF32
    train, test = (torch.from_numpy(x).flatten(1).to(DEVICE) for x in images(a))
    model = VAE(*(convolutional if CONVOLUTIONAL else dense)(a), CONVOLUTIONAL, IWAE).to(DEVICE)
    if CONVOLUTIONAL:
        model = model.to(memory_format=torch.channels_last)
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    for weight in weights.values():
        weight.normal_(std=0.01 if CONVOLUTIONAL else 0.1)
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    loss_of = grad_and_value(lambda w, x, noise: functional_call(model, w, (x, noise)))

    def step(weights: Tensors, sums: Tensors, x: Tensor, noise: Tensor) -> None:
        gradients, _ = loss_of(weights, x, noise)
        for name, gradient in gradients.items():  # Adagrad
            sums[name].addcmul_(gradient, gradient)
            weights[name].addcdiv_(gradient, sums[name].sqrt().add_(1e-10), value=-a.lr)

    if COMPILED:
        step = torch.compile(step)
    count = min(STEPS, len(train) // a.batch)
    block = torch.zeros(count, a.batch, train.shape[1], device=DEVICE)

    def steps() -> None:
        for x in block:
            step(weights, sums, x, torch.randn(a.num_samples, a.batch, a.latent, device=DEVICE))

    with torch.no_grad():
        replay, seen = capture(steps), 0
        start = time.perf_counter()
        while seen < a.samples:
            order = torch.randperm(len(train), device=DEVICE)
            for index in order[: len(train) // (count * a.batch) * count * a.batch].view(-1, count, a.batch):
                block.copy_(train[index]).div_(255)
                replay()
                seen += count * a.batch
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        elbos = [-model(x.float() / 255, torch.randn(1, len(x), a.latent, device=DEVICE)) for x in test.split(1000)]
        return Result(seen / seconds, float(torch.stack(elbos).mean()))


def flag(name: str) -> bool:
    """Whether a flag was given, which it takes from the arguments."""
    given = name in sys.argv
    if given:
        sys.argv.remove(name)
    return given


if __name__ == "__main__":
    COMPILED, CONVOLUTIONAL, IWAE = flag("--compile"), flag("--convolutional"), flag("--iwae")
    finish(main)
