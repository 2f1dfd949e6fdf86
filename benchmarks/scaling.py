"""Training speed over the sizes of the model and of the minibatches, beside the two loops that come closest.

    python benchmarks/scaling.py --data data

One size at a time leaves the paper's MNIST model. Every repeat runs each contender once at each size, all in turn; the
medians over the repeats are compared. A run has as many minibatches whatever their size, and an epoch at least. It
prints a table, and writes scaling.json and scaling.png.
"""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from speed import EPOCH, PAPER, measure, medians, on_device, parse, write

SIZES = {"batch": (20, 500), "hidden": (100, 1000), "latent": (2, 200), "num_samples": (2, 10)}
"""Beside the paper's."""

TITLES = {
    "batch": "minibatch",
    "hidden": "hidden units",
    "latent": "latent dimensions",
    "num_samples": "L, samples of z per datapoint",
}


def table(results: dict[str, dict[str, Any]], names: list[str]) -> str:
    """In Markdown: images per second, and how many times faster ours is."""
    lines = ["| | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    for size, found in results.items():
        rates = [found[name]["images_per_second"] for name in names]
        ratios = [""] + [f" ({rates[0] / rate:.2f}×)" for rate in rates[1:]]
        lines.append(f"| {size} | " + " | ".join(f"{r:,.0f}{x}" for r, x in zip(rates, ratios, strict=True)) + " |")
    return "\n".join(lines)


def plot(results: dict[str, dict[str, Any]], names: list[str], path: Path) -> None:
    """A panel for each size, with the spread of the runs."""
    figure, panels = plt.subplots(1, len(SIZES), figsize=(11, 3.2), sharey=True, layout="constrained")
    for axes, (key, sizes) in zip(panels, SIZES.items(), strict=True):
        values = sorted([*sizes, PAPER[key]])
        for name in names:
            found = [results[label(key, value)][name] for value in values]
            rates = [one["images_per_second"] for one in found]
            (line,) = axes.loglog(values, rates, "o-", markersize=4, label=name)
            spread = [[run["images_per_second"] for run in one["runs"]] for one in found]
            axes.fill_between(
                values, *zip(*[(min(s), max(s)) for s in spread], strict=True), color=line.get_color(), alpha=0.15
            )
        axes.set_xticks(values, [str(value) for value in values], minor=False)
        axes.minorticks_off()
        axes.set_xlabel(TITLES[key])
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].yaxis.set_major_formatter("{x:,.0f}")
    panels[0].set_ylabel("images per second")
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def label(key: str, value: float) -> str:
    """The setting's name; the paper's model has one name, whatever is varied."""
    return "the paper's model" if value == PAPER[key] else f"{key}={value}"


def main() -> None:
    arguments = parse(__doc__, samples=100_000, repeats=5, only="steps=compiled,plain,JAX")
    minibatches = arguments.samples // PAPER["batch"]
    settings = {"the paper's model": PAPER}
    settings |= {label(key, value): PAPER | {key: value} for key, values in SIZES.items() for value in values}
    runs: dict[str, dict[str, list[dict[str, float]]]] = {size: {n: [] for n in arguments.names} for size in settings}
    for repeat in range(arguments.repeats):
        for size, setting in settings.items():
            options = setting | {
                "samples": max(EPOCH, minibatches * setting["batch"]),
                "seed": repeat,
                "data": arguments.data,
            }
            for name in arguments.names:
                runs[size][name].append(measure(name, options))
            rates = "  ".join(f"{n} {runs[size][n][-1]['images_per_second']:,.0f}" for n in arguments.names)
            print(f"{repeat + 1}/{arguments.repeats}  {size:18} {rates}", flush=True)
    results = {size: {name: medians(done) for name, done in found.items()} for size, found in runs.items()}
    print(f"\n{table(results, arguments.names)}\n")
    write(arguments.out, on_device("scaling"), PAPER | {"minibatches": minibatches}, results)
    plot(results, arguments.names, arguments.out / f"{on_device('scaling')}.png")


if __name__ == "__main__":
    main()
