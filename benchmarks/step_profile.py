"""What a training step of the paper's MNIST model is made of: the time of each tensor operation, in ms per step.

    OMP_NUM_THREADS=1 python benchmarks/step_profile.py

With one thread, so that wall time is processor time. Of the latter, the least of all blocks is printed, which other
work on the machine changes little. The images are random, which makes no difference to the time. `--steps compiled` is
the same for compiled steps, and `--mkl` for large products by MKL on any processor.
"""

import argparse
import itertools
import logging
import time
import warnings
from functools import partial
from typing import Any, get_args

import pytorch_lightning as pl
import torch
from importance_sampling import paper_model
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader

from aevb.objectives import SGVB
from aevb.training.module import AEVB
from aevb.training.steps import Steps, compiled, products

BATCH, BLOCK = 100, 10
SETTLED = 20
"""Blocks before the profile: the step has been recorded."""


class Profile(pl.Callback):
    """Times some blocks as they are, and then profiles as many."""

    def __init__(self, blocks: int) -> None:
        self.times = [SETTLED, SETTLED + blocks, SETTLED + 2 * blocks]
        self.profile = profile(activities=[ProfilerActivity.CPU])
        self.clock: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.clock.append(time.process_time())
        if batch_idx + 1 == self.times[1]:
            self.profile.start()
        elif batch_idx + 1 == self.times[2]:
            self.profile.stop()

    def least(self) -> float:
        """The least processor time of a block that was not profiled."""
        marks = self.clock[self.times[0] : self.times[1]]
        return min(end - start for start, end in itertools.pairwise(marks))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=50, help=f"of {BLOCK} minibatches of {BATCH}")
    parser.add_argument("--steps", choices=get_args(Steps), default="recorded", help="(default: %(default)s)")
    parser.add_argument("--rows", type=int, default=16, help="operations to list")
    parser.add_argument("--mkl", action="store_true", help="products by torch's own library on every processor")
    arguments = parser.parse_args()
    if arguments.mkl:
        products.is_faster = lambda: False

    compiled.allowed = lambda step: False  # before the steps that are timed, and not beside them
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.manual_seed(0)
    objective = SGVB()
    objective.num_data = 50_000
    optimizer = partial(torch.optim.Adagrad, lr=0.01, fused=True)
    module = AEVB(paper_model(latent_dim=20, hidden=500), objective, optimizer, steps=arguments.steps)
    blocks = [(torch.rand(BLOCK, BATCH, 1, 28, 28),)] * (SETTLED + 2 * arguments.blocks)
    watch = Profile(arguments.blocks)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[watch], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with products.fast_products():
        trainer.fit(module, DataLoader(blocks, batch_size=None))

    steps = arguments.blocks * BLOCK
    averages = sorted(watch.profile.key_averages(), key=lambda event: -event.self_cpu_time_total)
    plain = 1e3 * watch.least() / BLOCK
    print(f"{torch.get_num_threads()} thread(s): {plain:.2f} ms of processor time a step; under the profiler\n")
    print("| operation | calls | ms |\n| --- | ---: | ---: |")
    for event in averages[: arguments.rows]:
        print(f"| `{event.key}` | {event.count / steps:.1f} | {event.self_cpu_time_total / 1e3 / steps:.2f} |")
    rest = averages[arguments.rows :]
    calls, spent = (sum(getattr(event, name) for event in rest) for name in ("count", "self_cpu_time_total"))
    print(f"| {len(rest)} others | {calls / steps:.1f} | {spent / 1e3 / steps:.2f} |")


if __name__ == "__main__":
    main()
