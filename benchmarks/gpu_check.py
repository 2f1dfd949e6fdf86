"""Whether training on this GPU is right and how fast it is, in some five minutes: run it once on a new machine.

    python benchmarks/gpu_check.py

1. The tests that need a GPU (`pytest -m gpu`): graphs have the bits of eager steps, resumed runs those of uninterrupted
   ones, every part is captured.
2. The noise of members (`seeds=R`): of their own generators, and of torch's in their state, bit for bit.
3. Images per second of the paper's MNIST model (784-500-20, minibatches of 100, Adagrad, random images): our eager,
   captured and compiled steps and several runs together (`seeds=8`), a plain PyTorch loop without and with
   torch.compile, the same in a CUDA graph by hand, and JAX where it is installed.
4. The same of a convolutional model in bf16-mixed, and of IWAE with 50 samples of z at minibatches of 20, beside a CUDA
   graph by hand, for the convolutions with channels last.

It prints PASS or FAIL for each, and ends with exit code 1 if one failed. `--only steps=compiled,IWAE` executes those
whose names contain one of the words; `--device cpu` is a dry run without the first part. Where steps are not taken as a
setting asks, the line above the failure says why; of members it names the first metrics, gradients or states that
differ, and by how much.
"""

import argparse
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from importance_sampling import paper_model
from speed import CONTENDERS, PAPER, ROOT, measure_peer

from aevb.data import BatchLoader
from aevb.data.loader import automatic_block_size
from aevb.data.members import MemberLoader
from aevb.likelihoods import Bernoulli
from aevb.networks import ConvDecoder, ConvEncoder
from aevb.objectives import IWAE, SGVB, Objective
from aevb.posteriors import DiagonalGaussian
from aevb.priors import StandardNormal
from aevb.training.members import Members
from aevb.training.module import AEVB
from aevb.training.steps import compiled
from aevb.training.steps.batched import drawing_from
from aevb.vae import VAE

STEPS = {"eager": "eager", "auto": "captured", "compiled": "compiled"}
"""The setting, and what it is to be on a GPU."""

PEERS = {
    "plain PyTorch": 8,
    "PyTorch, torch.compile": 8,
    "PyTorch, CUDA graph": 2,
    "PyTorch, compiled CUDA graph": 1,
    "JAX, jit + scan": 1,
}
"""The peers; those that take ten times as long have an eighth of the minibatches, as eager steps do."""


def dense_model() -> VAE:
    """The paper's model."""
    return paper_model(latent_dim=20, hidden=500)


def convolutional_model() -> VAE:
    """The paper's model with two convolutions on either side, of channels as `model/encoder=conv` has them."""
    parts = (ConvEncoder, DiagonalGaussian, StandardNormal, ConvDecoder, Bernoulli)
    return VAE(20, (1, 28, 28), *parts, initialization="xavier")


@dataclass(frozen=True)
class Case:
    """What is trained, and the flags of the same by hand; objectives have no prior on the weights, as peers have none.

    A case that takes longer has a share of the minibatches.
    """

    model: Callable[[], VAE] = dense_model
    objective: Callable[..., Objective] = SGVB
    batch: int = 100
    num_samples: int = 1
    precision: Any = "32-true"
    fraction: int = 1
    flags: tuple[str, ...] = ()


PAPERS = Case()
OTHERS = {
    "convolutional, bf16": Case(convolutional_model, precision="bf16-mixed", fraction=4, flags=("--convolutional",)),
    "IWAE, K = 50": Case(objective=IWAE, batch=20, num_samples=50, fraction=2, flags=("--iwae",)),
}


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
    steps: str, device: str, images: torch.Tensor, minibatches: int, settled: int, members: int, case: Case
) -> tuple[float, Watch]:
    """Images per second, and what was seen of training."""
    torch.manual_seed(0)
    batch = case.batch
    size = automatic_block_size(device, len(images) // batch, 4 * images[0].numel() * batch)
    modules, loaders = [], []
    for seed in range(members):
        optimizer = partial(torch.optim.Adagrad, lr=0.01, fused=True)
        settings: dict[str, Any] = {"seed": seed, "steps": steps, "max_samples": minibatches * batch}
        modules.append(
            AEVB(case.model(), case.objective(num_samples=case.num_samples, weight_prior=False), optimizer, **settings)
        )
        loaders.append(BatchLoader(images.to(device), batch_size=batch, shuffle=True, seed=seed, block_size=size))
    watch = Watch(settled)
    pl.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu", devices=1, max_epochs=-1, callbacks=[watch], logger=False,
        precision=case.precision, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    ).fit(
        modules[0] if members == 1 else Members(modules), loaders[0] if members == 1 else MemberLoader(loaders)
    )  # fmt: skip
    return members * watch.timed * batch / (watch.end - watch.mark), watch


def report(name: str, check: Callable[[], str]) -> bool:
    """Print a line for a check; whether it passed, which is that it raised nothing."""
    try:
        print(f"PASS  {name:40} {check()}", flush=True)
    except (Exception, SystemExit) as error:  # whatever goes wrong is what this program is to show
        print(f"FAIL  {name:40} {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", flush=True)
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


def ours(
    steps: str,
    arguments: argparse.Namespace,
    images: torch.Tensor,
    members: int = 1,
    case: Case = PAPERS,
    precision: str = "high",
) -> str:
    """The speed of our steps; raises an error where they are not executed as the setting asks on a GPU."""
    torch.set_float32_matmul_precision(precision)
    fraction = PEERS["plain PyTorch"] if steps == "eager" else members * case.fraction
    minibatches = max(arguments.minibatches // fraction, 2 * arguments.settled)
    rate, watch = train(steps, arguments.device, images, minibatches, arguments.settled, members, case)
    if arguments.device == "cuda" and watch.runner != ("batched" if members > 1 else STEPS[steps]):
        raise RuntimeError(f"steps were {watch.runner}")
    alone = f", graph alone {members * case.batch / watch.alone:,.0f}" if watch.alone else ""
    seconds = f"{watch.mark - watch.start:.1f} s for the first {arguments.settled} minibatches"
    return f"{rate:>11,.0f} images/s{alone}, {seconds}, {watch.runner}"


def peer(program: list[str], images: torch.Tensor, minibatches: int, case: Case = PAPERS) -> str:
    """The speed of a peer on the same images, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for part, count in (("train", len(images)), ("t10k", 1000)):
            header = np.zeros(16, dtype=np.uint8)
            np.concatenate([header, images[:count].flatten().numpy()]).tofile(raw / f"{part}-images-idx3-ubyte")
        options = PAPER | {"batch": case.batch, "num_samples": case.num_samples}
        found = measure_peer(program, options | {"data": folder, "samples": minibatches * case.batch, "seed": 0})
    return f"{found['images_per_second']:>11,.0f} images/s"


Check = tuple[str, Callable[[], str]]
"""Its name, and what passes it or raises an error."""


def of_papers_model(arguments: argparse.Namespace, images: torch.Tensor) -> list[Check]:
    """Our steps in float32 and, on a GPU, in TF32, members, and the peers."""
    checks: list[Check] = []
    for precision in ("highest", "high") if arguments.device == "cuda" else ("highest",):
        for steps in STEPS if precision == "highest" else [steps for steps in STEPS if steps != "eager"]:
            name = f"steps={steps}" + (", TF32" if precision == "high" else "")
            checks.append((name, partial(ours, steps, arguments, images, precision=precision)))
    checks.append((f"seeds={arguments.members}", partial(ours, "auto", arguments, images, arguments.members)))
    for name, fraction in PEERS.items():
        checks.append((name, partial(peer, CONTENDERS[name], images, arguments.minibatches // fraction)))
    return checks


def of_others(arguments: argparse.Namespace, images: torch.Tensor) -> list[Check]:
    """Our steps of the other cases, with TF32 on a GPU, and the same by hand in a CUDA graph."""
    checks: list[Check] = []
    for name, case in OTHERS.items():
        checks += [
            (f"{name}, steps={steps}", partial(ours, steps, arguments, images, case=case))
            for steps in STEPS
            if steps != "eager"
        ]
        for kind in ("CUDA graph", "compiled CUDA graph"):
            program = [*CONTENDERS[f"PyTorch, {kind}"], *case.flags]
            run = partial(peer, program, images, arguments.minibatches // (2 * case.fraction), case)
            checks.append((f"{name}, {kind}", run))
    return checks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--minibatches", type=int, default=20_000, help="of a run of ours (default: %(default)s)")
    parser.add_argument("--settled", type=int, default=500, help="the first, not timed (default: %(default)s)")
    parser.add_argument("--images", type=int, default=50_000, help="of the data set (default: %(default)s)")
    parser.add_argument("--members", type=int, default=8, help="runs trained together (default: %(default)s)")
    parser.add_argument("--only", default="", help="the checks whose names contain one of these words, by commas")
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
    checks: list[Check] = [("tests that need a GPU", tests)] if arguments.device == "cuda" else []
    checks += [("noise of members", partial(noise, arguments.device))]
    checks += of_papers_model(arguments, images) + of_others(arguments, images)
    passed = []
    for name, check in checks:
        if not any(word in name for word in arguments.only.split(",")):
            continue
        if "JAX" in name and find_spec("jax") is None:
            print(f"      {name:40} jax is not installed")
        else:
            passed.append(report(name, check))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
