"""Reads run folders; those that cannot be read are listed with a reason."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from aevb.errors import ConfigError, first_line, one_line
from aevb.runs.description import overrides
from aevb.runs.evaluation import read_evaluation
from aevb.runs.find import find_runs
from aevb.runs.folder import RunFolder
from aevb.runs.formats import MAX_INTEGER, MAX_NUMBER
from aevb.runs.metrics import ERROR, read_metrics

Points = list[tuple[int, float]]
"""(samples, value), in the order in which they were logged."""


class Skipped(NamedTuple):
    """A folder that is not in the report."""

    path: str
    reason: str


class Statistics(NamedTuple):
    """Mean and standard deviation (0 for one seed) of a metric over seeds, at one number of training samples."""

    samples: int
    mean: float
    deviation: float
    seeds: int


@dataclass(frozen=True)
class Run:
    """The contents of a run folder."""

    folder: RunFolder
    overrides: dict[str, str]
    """Overrides of the command, by key."""
    status: dict[str, Any]
    metrics: dict[str, Points]
    """The finite values of metrics.csv, by name."""
    evaluation: list[dict[str, Any]]
    """The entries of evaluation.json, less those of one member among several."""
    data: str
    """The class of the data set."""
    objective: str
    """The class of the objective."""
    latent_dim: int
    train_size: int | None
    """Number of training datapoints; None: all."""
    seed: int
    seeds: int
    """Seeds trained at once."""

    @property
    def name(self) -> str:
        """The path of the folder, as found."""
        return str(self.folder.path)

    @property
    def samples(self) -> int:
        """Training samples evaluated."""
        return int(self.status.get("samples", 0))

    def curve(self, metric: str) -> list[Statistics]:
        """A metric over this run's seeds; of two values at the same number of samples the later."""
        errors = dict(self.metrics.get(f"{metric}{ERROR}", []))
        return [
            Statistics(samples, mean, errors.get(samples, 0.0) * self.seeds**0.5, self.seeds)
            for samples, mean in dict(self.metrics.get(metric, [])).items()
        ]

    def last(self, metric: str) -> float | None:
        """The last value of a metric: in the results of the run, else in metrics.csv."""
        results = self.status.get("results") or {}
        value = results.get(metric)
        if value is None and self.metrics.get(metric):
            value = self.metrics[metric][-1][1]
        return None if value is None else float(value)


def class_of(config: DictConfig, section: str) -> str:
    """The name of the class of a section, without its module."""
    target = config[section]._target_
    if not isinstance(target, str) or not all(part.isidentifier() for part in target.split(".")):
        raise ConfigError(f"{section}._target_ must be the name of a class, got {target!r}")
    return target.rsplit(".", 1)[-1]


def whole(config: DictConfig, key: str) -> int:
    """A setting if it is a whole number, else a ConfigError."""
    value = OmegaConf.select(config, key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{key} must be a whole number, got {value!r}")
    return value


def find(patterns: Sequence[str]) -> tuple[list[Run], list[Skipped]]:
    """All runs in and below folders and globs (`*`, `?`, `[…]`, and `**` for any depth), in the order of their paths.

    Returns:
        The runs, each once, and what was skipped: missing, without runs, incomplete, damaged, or of another program.
    """
    runs: dict[Path, Run] = {}
    skipped: dict[str, Skipped] = {}
    for pattern in patterns:
        # `Path.glob` takes no absolute pattern.
        matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        paths = [Path(path) for path in matches] or [Path(pattern)]
        for path in paths:
            if not path.exists():
                skipped[str(path)] = Skipped(str(path), "it does not exist")
            for folder in [run.path for run in find_runs(path)]:
                if folder.resolve() in runs or str(folder) in skipped:
                    continue
                try:
                    runs[folder.resolve()] = read(folder)
                except Exception as error:  # the report shows the other runs
                    skipped[str(folder)] = Skipped(str(folder), one_line(error).removeprefix(f"{folder} "))
            if path.is_dir() and not any(known.is_relative_to(path.resolve()) for known in runs):
                skipped.setdefault(str(path), Skipped(str(path), "it contains no run"))
    return [runs[path] for path in sorted(runs)], list(skipped.values())


def read(path: Path) -> Run:
    """The run in a folder; a ConfigError where it is incomplete, damaged, or of another program."""
    folder = RunFolder(path)
    config = folder.config()
    files = overrides(folder), folder.status(), metrics(folder.metrics_file)
    entries = [entry for entry in read_evaluation(path)["entries"] if entry.get("member") is None]
    try:
        return Run(
            folder,
            *files,
            entries,
            data=class_of(config, "data"),
            objective=class_of(config, "objective"),
            latent_dim=whole(config, "model.latent_dim"),
            train_size=None if config.data.get("train_size") is None else whole(config, "data.train_size"),
            seed=whole(config, "seed"),
            seeds=1 if config.get("seeds") is None else whole(config, "seeds"),
        )
    except Exception as error:
        raise ConfigError(f"is not a run of aevb: {first_line(error)}") from error


def metrics(path: Path) -> dict[str, Points]:
    """The finite values of a metrics.csv by name; none where there is no such file."""
    found: dict[str, Points] = {}
    for row in read_metrics(path).rows:
        try:
            samples = int(row.pop("samples"))
            values = {name: float(text) for name, text in row.items() if text}
            if not 0 <= samples <= MAX_INTEGER:
                raise ValueError(f"samples is {samples:.3g}, not a number of samples")
        except (OverflowError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read: {one_line(error)[:200]}") from error
        for name, value in values.items():
            if abs(value) <= MAX_NUMBER:
                found.setdefault(name, []).append((samples, value))
    return found
