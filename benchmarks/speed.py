"""Training speed of `python train.py` and of its peers: the same model, data, batch, optimizer and number of samples.

    make benchmark ARGS="--data data"

Every repeat runs each contender once, one after the other, in a process of its own, and the medians over the repeats
are compared; so a machine that is now faster and now slower is so for all. It prints the table, and writes speed.json
and speed.png, on a machine with a GPU speed_gpu.json and speed_gpu.png. `scaling.py` does the same over the sizes of
the model and of the minibatches.
"""

import argparse
import csv
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "benchmarks" / "peers"
OURS = "python train.py"

OURS_COMPILED = "python train.py steps=compiled"

OURS_EAGER = "python train.py steps=eager"

CONTENDERS = {
    OURS: [],
    OURS_COMPILED: ["steps=compiled", "+trainer.deterministic=true"],  # they are compiled before those that are timed
    OURS_EAGER: ["steps=eager"],
    "pytorch/examples": ["pytorch_example.py"],
    "pythae": ["pythae_trainer.py"],
    "Lightning + DataLoader": ["lightning_loader.py"],
    "plain PyTorch": ["plain_pytorch.py"],
    "PyTorch, torch.compile": ["plain_pytorch.py", "--compile"],
    "PyTorch, CUDA graph": ["cuda_graph.py"],
    "PyTorch, compiled CUDA graph": ["cuda_graph.py", "--compile"],
    "JAX, jit + scan": ["jax_scan.py"],
}
OF_OURS = (OURS, OURS_COMPILED, OURS_EAGER)

SETTLED = 300
"""Minibatches after which a run of ours is timed: its steps have been recorded, captured or compiled."""

EPOCH = 50_000

PAPER = {"batch": 100, "hidden": 500, "latent": 20, "num_samples": 1, "lr": 0.01}
"""The paper's MNIST model; its learning rate, see README.md."""


def command(name: str, options: dict[str, Any], folder: Path) -> list[str]:
    """How to start a run of ours, which writes its run folder to `folder`."""
    return [
        sys.executable,
        str(ROOT / "train.py"),
        "data=mnist",
        f"paths.data={options['data']}",
        f"max_samples={options['samples']}",
        f"seed={options['seed']}",
        f"data.batch_size={options['batch']}",
        f"model.latent_dim={options['latent']}",
        f"model.encoder.hidden=[{options['hidden']}]",
        f"model.decoder.hidden=[{options['hidden']}]",
        f"objective.num_samples={options['num_samples']}",
        f"optimizer.lr={options['lr']}",
        "objective.weight_prior=false",  # the peers have none
        "logger=none",
        "callbacks.images=null",
        "callbacks.progress=null",
        f"hydra.run.dir={folder}",
        *CONTENDERS[name],
    ]


def measure(name: str, options: dict[str, Any]) -> dict[str, float]:
    """Run a contender once: images per second in training, and the test set's ELBO.

    Raises:
        CalledProcessError: it failed; what it said is printed.
    """
    if name not in OF_OURS:
        return measure_peer(CONTENDERS[name], options)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        output_of(command(name, options, run))
        return read_metrics(run / "metrics.csv", SETTLED * options["batch"])


def measure_peer(script_and_flags: list[str], options: dict[str, Any]) -> dict[str, float]:
    """The same for a peer: a program in peers/, and its flags."""
    script, *flags = script_and_flags
    given = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    result: dict[str, float] = json.loads(output_of([sys.executable, str(PEERS / script), *flags, *given])[-1])
    return result


def output_of(arguments: list[str]) -> list[str]:
    """The lines that a program prints; what it says of an error is printed."""
    done = subprocess.run(arguments, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"})
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        done.check_returncode()
    return done.stdout.splitlines()


def read_metrics(path: Path, settled_after: int) -> dict[str, float]:
    """Of a run of ours: training samples over training time, validation left out.

    The first `settled_after` samples, in which steps are recorded or compiled, do not count, as peers' compilation does
    not.
    """
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rates = [
        (int(row["samples"]), float(row["train/images_per_second"])) for row in rows if row["train/images_per_second"]
    ]
    settled = [
        (samples - start, (samples - start) / rate)
        for (start, _), (samples, rate) in itertools.pairwise(rates)
        if start >= settled_after
    ]
    return {
        "images_per_second": sum(samples for samples, _ in settled) / sum(seconds for _, seconds in settled),
        "elbo": float(next(r["test/elbo"] for r in rows if r["test/elbo"])),
    }


def compare(names: list[str], options: dict[str, Any], repeats: int) -> dict[str, dict[str, Any]]:
    """All contenders, interleaved; repeat r has seed r."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for repeat in range(repeats):
        for name in names:
            runs[name].append(measure(name, options | {"seed": repeat}))
            print(
                f"{repeat + 1}/{repeats}  {name:30} {runs[name][-1]['images_per_second']:>9,.0f} images/s", flush=True
            )
    return {name: medians(done) for name, done in runs.items()}


def medians(runs: list[dict[str, float]]) -> dict[str, Any]:
    """Of all that the runs measured; and the runs."""
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]} | {"runs": runs}


def table(results: dict[str, dict[str, Any]]) -> str:
    """In Markdown: medians, and how many times faster ours is. ELBOs can be compared after as many samples only."""
    ours = results[OURS]["images_per_second"]
    lines = ["| | images/s | ours is faster by | test ELBO |", "| --- | ---: | ---: | ---: |"]
    for name, result in sorted(results.items(), key=lambda item: item[1]["images_per_second"]):
        rate = result["images_per_second"]
        lines.append(f"| {name} | {rate:,.0f} | {ours / rate:.2f}× | {result['elbo']:.1f} |")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the numbers belong to."""
    import torch

    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": torch.backends.cpu.get_cpu_capability() + ", " + platform.machine(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
    }


def plot(results: dict[str, dict[str, Any]], path: Path) -> None:
    """A bar for each contender."""
    figure, axes = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    ranked = sorted(results.items(), key=lambda item: item[1]["images_per_second"])
    colours = ["C0" if name in OF_OURS else "0.7" for name, _ in ranked]
    bars = axes.barh([name for name, _ in ranked], [r["images_per_second"] for _, r in ranked], color=colours)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    axes.set_xlabel(f"images per second on {machine()['gpu'] or 'a CPU'}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def parse(description: str | None, samples: int, repeats: int, only: str) -> argparse.Namespace:
    """The arguments of the benchmarks of training, with `names`, the contenders that are asked for."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("AEVB_DATA_DIR", "data"), help="folder with MNIST/raw")
    text = "training samples of a run, whole epochs of 50,000, as the peers train those (default: %(default)s)"
    parser.add_argument("--samples", type=int, default=samples, help=text)
    parser.add_argument("--repeats", type=int, default=repeats, help="runs of each (default: %(default)s)")
    text = "contenders beside ours whose names contain one of these words, by commas (default: %(default)s)"
    parser.add_argument("--only", default=only, help=text)
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder for the results (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.samples < EPOCH or arguments.samples % EPOCH:
        parser.error(f"--samples must be a multiple of {EPOCH}, as the peers train whole epochs")
    arguments.data = str(Path(arguments.data).absolute())
    words = arguments.only.split(",")
    names = [name for name in CONTENDERS if machine()["gpu"] or "CUDA" not in name]
    arguments.names = [name for name in names if name == OURS or any(word in name for word in words)]
    return arguments


def on_device(stem: str) -> str:
    """The name of a file of results, of this kind of device."""
    return f"{stem}_gpu" if machine()["gpu"] else stem


def write(folder: Path, stem: str, settings: dict[str, Any], results: dict[str, Any]) -> None:
    """The results as JSON, with what they belong to."""
    folder.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine(), "settings": settings, "results": results}
    (folder / f"{stem}.json").write_text(json.dumps(report, indent=1) + "\n")


def main() -> None:
    arguments = parse(__doc__, samples=500_000, repeats=5, only="")
    settings = PAPER | {"samples": arguments.samples}
    results = compare(arguments.names, settings | {"data": arguments.data}, arguments.repeats)
    print(f"\n{table(results)}\n")
    write(arguments.out, on_device("speed"), settings, results)
    plot(results, arguments.out / f"{on_device('speed')}.png")


if __name__ == "__main__":
    main()
