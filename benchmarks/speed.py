"""Training speed of `python train.py` and of its peers: the same model, data, batch, optimizer and number of samples.

    make benchmark ARGS="--data data"

Every repeat runs each contender once, one after the other, in a process of its own, and the medians over the repeats
are compared; so a machine that is now faster and now slower is so for all. It prints the table, and writes speed.json
and speed.png. With `--vary batch=20,100,500` it does so for each value, for our own program and the two loops that come
closest.
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

OURS_COMPILED = "python train.py compile_steps=true"

CONTENDERS = {
    OURS: [],
    OURS_COMPILED: ["compile_steps=true"],
    "pytorch/examples": ["pytorch_example.py"],
    "pythae": ["pythae_trainer.py"],
    "Lightning + DataLoader": ["lightning_loader.py"],
    "plain PyTorch": ["plain_pytorch.py"],
    "PyTorch, torch.compile": ["plain_pytorch.py", "--compile"],
    "JAX, jit + scan": ["jax_scan.py"],
}
SETTLED = 300
"""Minibatches after which a run of ours is timed: its steps have been recorded or compiled."""

EPOCH = 50_000

CLOSEST = (OURS, OURS_COMPILED, "plain PyTorch", "JAX, jit + scan")


def command(name: str, options: dict[str, Any], folder: Path) -> list[str]:
    """How to start a contender; ours writes its run folder to `folder`."""
    if name not in (OURS, OURS_COMPILED):
        script, *flags = CONTENDERS[name]
        given = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", str(value))]
        return [sys.executable, str(PEERS / script), *flags, *given]
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
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        done = subprocess.run(
            command(name, options, run), capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"}
        )
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            done.check_returncode()
        if name in (OURS, OURS_COMPILED):
            return read_metrics(run / "metrics.csv", SETTLED * options["batch"])
        result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return result


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
            runs[name].append(measure(name, options | {"seed": options["seed"] + repeat}))
            print(
                f"{repeat + 1}/{repeats}  {name:30} {runs[name][-1]['images_per_second']:>9,.0f} images/s", flush=True
            )
    return {
        name: {
            "images_per_second": statistics.median(run["images_per_second"] for run in done),
            "elbo": statistics.median(run["elbo"] for run in done),
            "runs": done,
        }
        for name, done in runs.items()
    }


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


def plot(results: dict[str, dict[str, dict[str, Any]]], path: Path) -> None:
    """Bars for one setting, lines over several."""
    figure, axes = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    if len(results) == 1:
        (only,) = results.values()
        ranked = sorted(only.items(), key=lambda item: item[1]["images_per_second"])
        colours = ["C0" if name in (OURS, OURS_COMPILED) else "0.7" for name, _ in ranked]
        bars = axes.barh([name for name, _ in ranked], [r["images_per_second"] for _, r in ranked], color=colours)
        axes.bar_label(bars, fmt="{:,.0f}", padding=3)
        axes.set_xlabel("images per second")
    else:
        for name in next(iter(results.values())):
            values = [float(setting.partition("=")[2]) for setting in results]
            axes.loglog(values, [r[name]["images_per_second"] for r in results.values()], "o-", label=name)
        axes.set_xlabel(next(iter(results)).partition("=")[0])
        axes.set_ylabel("images per second")
        axes.legend()
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("AEVB_DATA_DIR", "data"), help="folder with MNIST/raw")
    text = "training samples of a run (default: %(default)s); with another batch size, as many minibatches"
    parser.add_argument("--samples", type=int, default=500_000, help=text)
    parser.add_argument("--repeats", type=int, default=5, help="runs of each (default: %(default)s)")
    parser.add_argument("--only", default="", help="contenders whose names contain one of these words, by commas")
    parser.add_argument("--vary", default="", help="batch, hidden, latent or num_samples, as in batch=20,100,500")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder for the results (default: %(default)s)")
    arguments = parser.parse_args()
    options = {"data": str(Path(arguments.data).absolute()), "samples": arguments.samples, "seed": 0}
    options |= {"batch": 100, "hidden": 500, "latent": 20, "num_samples": 1, "lr": 0.01}
    words = [word for word in arguments.only.split(",") if word]
    names = [name for name in CONTENDERS if name == OURS or not words or any(word in name for word in words)]
    settings: list[dict[str, int]] = [{}]
    if arguments.vary:
        key, _, values = arguments.vary.partition("=")
        names = [name for name in CLOSEST if name in names]
        settings = [{key: int(value)} for value in values.split(",")]
    minibatches = arguments.samples // options["batch"]
    if minibatches < 2 * SETTLED:
        parser.error(f"--samples must be at least {2 * SETTLED} minibatches, as the first {SETTLED} do not count")
    if arguments.samples % EPOCH and not arguments.vary:
        parser.error(f"--samples must be a multiple of {EPOCH}, as the peers train whole epochs")
    results = {}
    for setting in settings:
        title = ", ".join(f"{key}={value}" for key, value in setting.items()) or "paper's MNIST model"
        samples = minibatches * setting.get("batch", options["batch"])
        results[title] = compare(names, options | setting | {"samples": samples}, arguments.repeats)
        print(f"\n{title}\n\n{table(results[title])}\n", flush=True)
    stem = f"speed_{arguments.vary.partition('=')[0]}" if arguments.vary else "speed"
    arguments.out.mkdir(parents=True, exist_ok=True)
    del options["data"]
    report = {"machine": machine(), "settings": options, "results": results}
    (arguments.out / f"{stem}.json").write_text(json.dumps(report, indent=1) + "\n")
    plot(results, arguments.out / f"{stem}.png")


if __name__ == "__main__":
    main()
