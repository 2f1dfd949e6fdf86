"""Prints the table of docs/comparison.md: `python benchmarks/comparison.py outputs/sweeps/compare`."""

import sys
from collections import defaultdict
from pathlib import Path

from omegaconf import OmegaConf

from aevb.runs.folder import RunFolder
from aevb.runs.metrics import read_metrics

SAME_FOR_ALL = ("callbacks", "logger", "max_samples", "trainer", "data")
DATA = ("mnist", "freyface")


def last(folder: RunFolder, metric: str) -> float | None:
    """The last value of a metric; None if it was never logged."""
    values = [row[metric] for row in read_metrics(folder.metrics_file).rows if row.get(metric)]
    return float(values[-1]) if values else None


def describe(folder: RunFolder) -> tuple[str, str]:
    """Which data set, and in what the run differs from the others."""
    overrides = dict(item.split("=", 1) for item in OmegaConf.load(folder.overrides_file))
    chosen = {key: value for key, value in overrides.items() if key.split(".")[0] not in SAME_FOR_ALL}
    if len(chosen) > 1:
        chosen.pop("model", None)
    if chosen == {"objective": "sgvb"}:
        chosen = {"model": overrides["model"]}
    return overrides["data"], " ".join(f"{key}={value}" for key, value in sorted(chosen.items(), reverse=True))


def main(sweep: Path) -> None:
    """Print the table in Markdown, a row for each choice and a column for each data set."""
    table: dict[str, dict[str, str]] = defaultdict(dict)
    for path in sorted(path for path in sweep.iterdir() if path.is_dir()):
        folder = RunFolder(path)
        data, choice = describe(folder)
        state = folder.status()["state"]
        elbo, bits = last(folder, "test/elbo"), last(folder, "test/bits_per_dim")
        text = state if elbo is None else f"{elbo:.1f}" + (f" ({bits:.3f} bits/dim)" if bits is not None else "")
        table[choice][data] = text.replace("-", "−")
    print("| Choice | " + " | ".join(DATA) + " |\n|---|" + "---:|" * len(DATA))
    for choice in sorted(table, key=lambda choice: (choice.count(" "), choice)):
        print(f"| `{choice}` | " + " | ".join(table[choice].get(data, "") for data in DATA) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
