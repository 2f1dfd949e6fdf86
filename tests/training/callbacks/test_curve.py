"""The curve of the bound along training."""

import csv

import pytest
import torch

from aevb.data import Split
from aevb.estimators import ImportanceSampling
from aevb.objectives import SGVB
from aevb.runs.load import load_run
from aevb.training.callbacks import Curve
from aevb.training.callbacks.curve import mean_elbo, mean_log_marginal
from aevb.training.callbacks.periodic import LogSpaced
from aevb.training.module import AEVB

SETTINGS = [
    "callbacks=curve",
    "callbacks.images=null",
    "callbacks.progress=null",
    "logger=none",
    "model.encoder.hidden=[16]",
    "data.batch_size=50",
    "data.block_size=2",
]


def curve(folder):
    with folder.metrics_file.open() as file:
        rows = [row for row in csv.DictReader(file) if row["curve/test_elbo"]]
    return {int(row["samples"]): (float(row["curve/train_elbo"]), float(row["curve/test_elbo"])) for row in rows}


@pytest.mark.parametrize(
    ("samples", "points"), [(0, 0), (9_999, 0), (10_000, 1), (12_589, 1), (12_590, 2), (100_000, 11), (10**7, 31)]
)
def test_points_are_log_spaced(samples, points):
    assert LogSpaced(10_000, 10).count(samples) == points


@pytest.mark.parametrize("setting", ["first", "per_decade", "datapoints"])
def test_bad_setting_is_named(setting):
    with pytest.raises(ValueError, match=f"^{setting} must be"):
        Curve(**{setting: 0})


def test_curve_is_that_of_the_model_and_does_not_disturb_training(run_train, tmp_path):
    folder, _ = run_train(*SETTINGS, "callbacks.curve.first=100", "callbacks.curve.per_decade=2", "max_samples=3200")
    found = curve(folder)
    assert list(found) == [100, 400, 1000, 3200]  # 316.2 and 3162.3 are rounded up to whole blocks
    assert found[3200][1] > found[100][1]

    module = load_run(folder.path, "last")
    plain, _ = run_train(*SETTINGS, "callbacks.curve=null", "max_samples=3200", folder=tmp_path / "plain")
    for a, b in zip(module.parameters(), load_run(plain.path, "last").parameters(), strict=True):
        assert torch.equal(a, b)


def test_resumed_run_has_the_same_curve(run_train, tmp_path):
    # An epoch has 27 minibatches. A run that ends within an epoch would go on with the next one.
    settings = [*SETTINGS, "data.binarization=dynamic", "callbacks.curve.first=100", "callbacks.curve.per_decade=4"]
    whole, _ = run_train(*settings, "max_samples=2700")
    parts, _ = run_train(*settings, "max_samples=1350", folder=tmp_path / "parts")
    run_train(f"resume={parts.path}", "max_samples=2700", folder=parts.path)
    assert curve(parts) == curve(whole)
    assert len(curve(whole)) == 6


def test_mean_elbo_has_the_same_noise_each_time_and_leaves_the_mode_alone(run_train):
    folder, _ = run_train(*SETTINGS, "max_samples=300")
    module = AEVB(load_run(folder.path), SGVB(), torch.optim.Adagrad).train()
    data = Split(torch.rand(30, 1, 8, 8))
    assert mean_elbo(module, data) == mean_elbo(module, data)
    assert mean_elbo(module, data, 1000) == pytest.approx(mean_elbo(module, data, 7), abs=0.5)
    assert all(part.training for part in module.modules())


def test_estimator_replaces_the_elbo(run_train):
    settings = ["callbacks.curve.first=100", "callbacks.curve.per_decade=1", "callbacks.curve.datapoints=50"]
    estimator = "{_target_:aevb.estimators.ImportanceSampling,num_samples:20}"
    folder, _ = run_train(*SETTINGS, *settings, f"+callbacks.curve.estimator={estimator}", "max_samples=1350")
    with folder.metrics_file.open() as file:
        rows = [row for row in csv.DictReader(file) if row["curve/test_log_marginal"]]
    assert [row["samples"] for row in rows] == ["100", "1000"]
    assert all("curve/test_elbo" not in row for row in rows)
    module = AEVB(load_run(folder.path, "last"), SGVB(), torch.optim.Adagrad)
    data = Split(torch.rand(50, 1, 8, 8))
    found = mean_log_marginal(module, data, ImportanceSampling(num_samples=100))
    assert found == mean_log_marginal(module, data, ImportanceSampling(num_samples=100))
    assert found > mean_elbo(module, data)
