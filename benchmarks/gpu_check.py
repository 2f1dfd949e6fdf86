"""Whether training on this GPU is right and how fast it is, in some three minutes: run it once on a new machine.

    python benchmarks/gpu_check.py

1. The tests that need a GPU (`pytest -m gpu`): graphs have the bits of eager steps, resumed runs those of uninterrupted
   ones, every part is captured.
2. The noise of members (`seeds=R`): of their own generators, and of torch's in their state, bit for bit.
3. Images per second of the paper's MNIST model (784-500-20, minibatches of 100, Adagrad, random images): our eager,
   captured and compiled steps and several runs together (`seeds=8`), a plain PyTorch loop without and with
   torch.compile, and JAX where it is installed.

It prints PASS or FAIL for each, and ends with exit code 1 if one failed. `--device cpu` is a dry run without
the first part. Where steps are not taken as a setting asks, the line above the failure says why; of members it names
the first metrics, gradients or states that differ, and by how much.
"""

import argparse
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from importance_sampling import paper_model
from speed import PAPER, ROOT, measure

from aevb.data import BatchLoader
from aevb.data.loader import automatic_block_size
from aevb.data.members import MemberLoader
from aevb.objectives import SGVB
from aevb.training.members import Members
from aevb.training.module import AEVB
from aevb.training.steps import compiled
from aevb.training.steps.batched import drawing_from

STEPS = {"eager": "eager", "auto": "captured", "compiled": "compiled"}
"""The setting, and what it is to be on a GPU."""

PEERS = {"plain PyTorch": 8, "PyTorch, torch.compile": 8, "JAX, jit + scan": 1}
"""The peers; those that take ten times as long have an eighth of the minibatches, as eager steps do."""


REPLAYS = 100


class Watch(pl.Callback):
    """Times blocks after `settled` minibatches, and tells how long those took."""

    def __init__(self, settled: int) -> None:
        self.settled, self.minibatches, self.timed = settled, 0, 0
        self.start = self.mark = 0.0
        self.runner = ""
        self.alone = 0.0
        """Seconds of a minibatch in replays of a graph without anything else; 0: there is none."""

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        self.start = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        count = len(outputs["loss"])
        self.minibatches += count
        if self.mark:
            self.timed += count
        elif self.minibatches >= self.settled:
            self.mark = time.perf_counter()

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        if module.device.type == "cuda":
            torch.cuda.synchronize()
        self.end = time.perf_counter()
        batched = getattr(module, "batched", None)
        runner = getattr(batched, "runner", None) if batched else module.runners[0].active
        graphs = [run for run in getattr(runner, "runs", {}).values() if run.graph]
        if graphs:
            start = time.perf_counter()
            for _ in range(REPLAYS):
                graphs[0].graph()
            torch.cuda.synchronize()
            self.alone = (time.perf_counter() - start) / (REPLAYS * len(graphs[0].block[0]))

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        batched = getattr(module, "batched", None)
        self.runner = "batched" if batched and not batched.failed else module.runners[0].active.name


def train(
    steps: str, device: str, images: torch.Tensor, minibatches: int, settled: int, members: int
) -> tuple[float, Watch]:
    """Images per second, and what was seen of training."""
    torch.manual_seed(0)
    batch = int(PAPER["batch"])
    size = automatic_block_size(device, len(images) // batch, 4 * images[0].numel() * batch)
    modules, loaders = [], []
    for seed in range(members):
        objective = SGVB(weight_prior=False)  # the peers have none
        optimizer = partial(torch.optim.Adagrad, lr=0.01, fused=True)
        settings: dict[str, Any] = {"seed": seed, "steps": steps, "max_samples": minibatches * batch}
        modules.append(AEVB(paper_model(latent_dim=20, hidden=500), objective, optimizer, **settings))
        loaders.append(BatchLoader(images.to(device), batch_size=batch, shuffle=True, seed=seed, block_size=size))
    watch = Watch(settled)
    pl.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu", devices=1, max_epochs=-1, callbacks=[watch], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    ).fit(
        modules[0] if members == 1 else Members(modules), loaders[0] if members == 1 else MemberLoader(loaders)
    )  # fmt: skip
    return members * watch.timed * batch / (watch.end - watch.mark), watch


def report(name: str, check: Callable[[], str]) -> bool:
    """Print a line for a check; whether it passed, which is that it raised nothing."""
    try:
        print(f"PASS  {name:32} {check()}", flush=True)
    except (Exception, SystemExit) as error:  # whatever goes wrong is what this program is to show
        print(f"FAIL  {name:32} {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", flush=True)
        return False
    return True


def tests() -> str:
    """Run the tests that need a GPU."""
    options = ["-q", "-m", "gpu", "-p", "no:cacheprovider", str(ROOT / "tests" / "training")]
    done = subprocess.run([sys.executable, "-m", "pytest", *options], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        print(done.stdout)
        raise RuntimeError(done.stdout.splitlines()[-1] if done.stdout else done.stderr.strip())
    return done.stdout.splitlines()[-1]


def noise(device: str) -> str:
    """Compare the draws of two members by the operations of batched steps with those of steps in turn."""
    generators = [torch.Generator(device).manual_seed(seed) for seed in (3, 4)]
    empty = torch.empty(1, 100, 20, device=device)
    for _ in range(2):
        for generator in generators:
            start = generator.get_state()
            mine = torch.ops.aten.normal_functional(empty, generator=generator)
            after = generator.get_state()
            generator.set_state(start)
            with drawing_from(generator):
                alone = torch.empty_like(empty).normal_()
            if not torch.equal(mine, alone):
                raise RuntimeError(f"draws differ by {float((mine - alone).abs().max()):.1e}")
            if not torch.equal(after, generator.get_state()):
                raise RuntimeError("the generators are in other states afterwards")
    return "the same bits"


def ours(steps: str, arguments: argparse.Namespace, images: torch.Tensor, members: int = 1) -> str:
    """The speed of our steps; raises an error where they are not executed as the setting asks on a GPU."""
    fraction = PEERS["plain PyTorch"] if steps == "eager" else members
    minibatches = max(arguments.minibatches // fraction, 2 * arguments.settled)
    rate, watch = train(steps, arguments.device, images, minibatches, arguments.settled, members)
    if arguments.device == "cuda" and watch.runner != ("batched" if members > 1 else STEPS[steps]):
        raise RuntimeError(f"steps were {watch.runner}")
    alone = f", graph alone {members * PAPER['batch'] / watch.alone:,.0f}" if watch.alone else ""
    seconds = f"{watch.mark - watch.start:.1f} s for the first {arguments.settled} minibatches"
    return f"{rate:>11,.0f} images/s{alone}, {seconds}, {watch.runner}"


def peer(name: str, images: torch.Tensor, minibatches: int) -> str:
    """The speed of a peer on the same images, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for part, count in (("train", len(images)), ("t10k", 1000)):
            header = np.zeros(16, dtype=np.uint8)
            np.concatenate([header, images[:count].flatten().numpy()]).tofile(raw / f"{part}-images-idx3-ubyte")
        samples = minibatches * int(PAPER["batch"])
        found = measure(name, PAPER | {"data": folder, "samples": samples, "seed": 0})
    return f"{found['images_per_second']:>11,.0f} images/s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--minibatches", type=int, default=20_000, help="of a run of ours (default: %(default)s)")
    parser.add_argument("--settled", type=int, default=500, help="the first, not timed (default: %(default)s)")
    parser.add_argument("--images", type=int, default=50_000, help="of the data set (default: %(default)s)")
    parser.add_argument("--members", type=int, default=8, help="runs trained together (default: %(default)s)")
    parser.add_argument("--no-peers", action="store_true")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; --device cpu is a dry run")
    compiled.allowed = lambda step: False  # before the steps that are timed, and not beside them
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.basicConfig(format="      %(message)s")
    logging.getLogger("aevb").setLevel(logging.INFO)
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name() if arguments.device == 'cuda' else 'a CPU'}\n")

    images = torch.randint(256, (arguments.images, 1, 28, 28), dtype=torch.uint8)
    passed = []
    if arguments.device == "cuda":
        passed.append(report("tests that need a GPU", tests))
    passed.append(report("noise of members", partial(noise, arguments.device)))
    for precision in ("highest", "high") if arguments.device == "cuda" else ("highest",):
        torch.set_float32_matmul_precision(precision)
        for steps in STEPS if precision == "highest" else [steps for steps in STEPS if steps != "eager"]:
            name = f"steps={steps}" + (", TF32" if precision == "high" else "")
            passed.append(report(name, partial(ours, steps, arguments, images)))
    members = partial(ours, "auto", arguments, images, arguments.members)  # with TF32 on a GPU
    passed.append(report(f"seeds={arguments.members}", members))
    for name, fraction in {} if arguments.no_peers else PEERS.items():
        if name.startswith("JAX") and find_spec("jax") is None:
            print(f"      {name:32} jax is not installed")
        else:
            passed.append(report(name, partial(peer, name, images, arguments.minibatches // fraction)))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
