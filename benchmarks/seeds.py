"""Several seeds trained at once against one run, in the same process: images/s of all members.

    OMP_NUM_THREADS=1 python benchmarks/seeds.py --data digits --seeds 8,32

Runs of one seed and of several take turns; each is timed from the moment its steps have become a program to its end.
`at once` are batched steps, `in turn` the recorded steps of one member after the other.
"""

import argparse
import logging
import statistics
import time
import warnings
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch

from aevb.data import BatchLoader
from aevb.data.members import MemberLoader
from aevb.likelihoods import Bernoulli
from aevb.networks import MLPDecoder, MLPEncoder
from aevb.objectives import SGVB
from aevb.posteriors import DiagonalGaussian
from aevb.priors import StandardNormal
from aevb.training import members
from aevb.training.members import Members
from aevb.training.module import AEVB
from aevb.training.steps import verified
from aevb.vae import VAE

SHAPES = {"digits": ((1, 8, 8), 200, 2), "mnist": ((1, 28, 28), 500, 20)}
BLOCK, BATCH = 10, 100


WARM_UP = 2
"""Blocks until all steps are programs, after `verified.WARM_UP` minibatches, here few."""


class Timing(pl.Callback):
    """Times training after the first blocks."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, trainer: Any, module: AEVB, outputs: Any, batch: Any, batch_idx: int) -> None:
        if module.device.type == "cuda":
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    @property
    def images_per_second(self) -> float:
        """Of one member."""
        times = self.times[WARM_UP - 1 :]
        return (len(times) - 1) * BLOCK * BATCH / (times[-1] - times[0])


def member(data: str, seed: int) -> AEVB:
    """A module at its start."""
    torch.manual_seed(seed)
    shape, hidden, latent_dim = SHAPES[data]
    encoder, decoder = (partial(part, hidden=[hidden]) for part in (MLPEncoder, MLPDecoder))
    model = VAE(latent_dim, shape, encoder, DiagonalGaussian, StandardNormal, decoder, Bernoulli)
    return AEVB(model, SGVB(), partial(torch.optim.Adagrad, lr=0.01, fused=True), seed=seed)


def speed(data: str, seeds: int, at_once: bool, blocks: int) -> float:
    """Images/s of all members of a run."""
    members.MOST_WEIGHTS = 10**9 if at_once else 0
    modules = [member(data, seed) for seed in range(seeds)]
    x = torch.randint(256, ((WARM_UP + blocks) * BLOCK * BATCH, *SHAPES[data][0]), dtype=torch.uint8)
    loaders = [BatchLoader(x, batch_size=BATCH, shuffle=True, seed=s, block_size=BLOCK) for s in range(seeds)]
    timing = Timing()
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    trainer = pl.Trainer(devices=1, max_epochs=1, callbacks=[timing], enable_model_summary=False, **quiet)
    if seeds == 1:
        trainer.fit(modules[0], loaders[0])
    else:
        trainer.fit(Members(modules), MemberLoader(loaders))
    return timing.images_per_second * seeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=SHAPES, default="digits")
    parser.add_argument("--seeds", default="8,32", help="how many at once, by commas (default: %(default)s)")
    parser.add_argument("--blocks", type=int, default=10, help="of 10 minibatches of 100, in one timing")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    verified.WARM_UP = 5
    print(f"{arguments.data}, {torch.get_num_threads()} threads; images/s of all, and as a multiple of one run's")
    print("| seeds | one run | in turn | at once |\n| ---: | ---: | ---: | ---: |")
    for seeds in map(int, arguments.seeds.split(",")):
        found = []
        for _ in range(arguments.repeats):
            blocks = arguments.blocks
            one = speed(arguments.data, 1, False, blocks * seeds)
            found.append([one, *(speed(arguments.data, seeds, at_once, blocks) for at_once in (False, True))])
        one = statistics.median(row[0] for row in found)
        ratios = [statistics.median(row[i] / row[0] for row in found) for i in (1, 2)]
        print(f"| {seeds} | {one:,.0f} | " + " | ".join(f"{one * r:,.0f} ({r:.2f}×)" for r in ratios) + " |")


if __name__ == "__main__":
    main()
