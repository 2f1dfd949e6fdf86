"""Every callback under a trainer with plain loaders and no data module."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from aevb.data import BatchLoader, Split
from aevb.networks import MLPEncoder
from aevb.objectives import SGVB
from aevb.training.callbacks import Checkpoint, Curve, Images, Interruption, Metrics, Progress, Status
from aevb.training.callbacks.curve import mean_elbo
from aevb.training.callbacks.progress import total_samples
from aevb.training.examples import examples
from aevb.training.loggers import MetricsFile
from aevb.training.module import AEVB

from ...small import quiet_trainer, small_model

X = torch.randint(256, (50, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(50)


class Endless(IterableDataset):
    def __iter__(self) -> Any:
        while True:
            yield from X


def labelled(rows: slice, **options: Any) -> DataLoader:
    return DataLoader(TensorDataset(X[rows], Y[rows]), batch_size=10, **options)


def fit(callbacks: Any, loader: Any, validation: Any = None, **options: Any) -> tuple[AEVB, pl.Trainer]:
    torch.manual_seed(0)
    objective, max_samples = SGVB(weight_prior=False), options.pop("max_samples", None)
    module = AEVB(
        options.pop("model", None) or small_model((1, 4, 4)), objective, torch.optim.Adagrad, max_samples=max_samples
    )
    trainer = quiet_trainer(**({"max_epochs": 2, "callbacks": callbacks} | options))
    trainer.fit(module, loader, validation)
    return module, trainer


def test_all_callbacks_run_and_do_not_disturb_training(tmp_path) -> None:
    checkpoint = Checkpoint(tmp_path)
    callbacks = [checkpoint, Curve(first=10), Images(tmp_path / "images", num_samples=4, num_reconstructions=3),
                 Interruption(checkpoint), Metrics(20), Progress(), Status(lambda samples: None)]  # fmt: skip
    loaders = labelled(slice(30), shuffle=True), labelled(slice(30, 50))
    tensorboard = TensorBoardLogger(tmp_path)
    loggers = [MetricsFile(tmp_path / "metrics.csv"), tensorboard]
    module, _ = fit(callbacks, *loaders, logger=loggers, num_sanity_val_steps=2)
    plain, _ = fit([], *loaders)
    for a, b in zip(module.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)
    tags = EventAccumulator(tensorboard.log_dir).Reload().Tags()
    names = ("latents", "manifold", "reconstructions", "samples", "samples_drawn")
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == [f"000000060_{name}.png" for name in names]
    assert sorted(tags["images"]) == [f"images/{name}" for name in names]
    assert checkpoint.last.is_file()
    assert checkpoint.best.is_file()
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float([row["curve/val_elbo"] for row in rows if row["curve/val_elbo"]][-1]) < 0
    assert [row["samples"] for row in rows if row["val/elbo"]] == ["30", "60"]


def test_pictures_are_of_the_model_without_dropout(tmp_path) -> None:
    model = small_model((1, 4, 4))
    model.q.encoder = MLPEncoder((1, 4, 4), hidden=[model.q.encoder.out_shape[0]], dropout=0.9)
    images = Images(tmp_path, num_samples=4, num_reconstructions=20)
    module, trainer = fit([images], labelled(slice(30)), labelled(slice(30, 50)), model=model)
    assert module.vae.q.encoder.training
    pictures = {path: path.read_bytes() for path in tmp_path.iterdir()}
    module.eval()
    images.act(trainer, module)
    assert {path: path.read_bytes() for path in pictures} == pictures
    assert len(pictures) == 5


def test_curve_is_of_the_datapoints_of_the_loaders() -> None:
    curve = Curve(first=10**6)
    found = {}
    curve.on_train_end = lambda trainer, module: found.update(curve.measure(module))
    module, _ = fit([curve], BatchLoader(X[:30], batch_size=10, block_size=2), labelled(slice(30, 50)))
    assert found == {
        "curve/train_elbo": mean_elbo(module, Split(X[:30] / 255)),
        "curve/val_elbo": mean_elbo(module, Split(X[30:] / 255)),
    }


@pytest.mark.parametrize(
    ("loader", "count", "labels"),
    [
        (labelled(slice(50)), 15, Y[:15]),
        (labelled(slice(50)), 99, Y),
        (DataLoader(TensorDataset(X), batch_size=10), 15, None),
        (BatchLoader(X, Y, batch_size=10, block_size=2), 15, Y[:15]),
        (DataLoader(Endless(), batch_size=10), 15, None),
    ],
)
def test_examples_are_the_first_datapoints(loader: Any, count: int, labels: Any) -> None:
    module, trainer = fit([], loader, max_samples=20, max_epochs=-1)
    x, y, _ = examples(trainer, module, "train", count)
    assert torch.equal(x, X[:count] / 255)
    assert y is None if labels is None else torch.equal(y, labels)


@pytest.mark.parametrize("limit", [{}, {"limit_train_batches": 1}], ids=["whole", "limited"])
@pytest.mark.parametrize("loader", [labelled(slice(35)), BatchLoader(X[:35], batch_size=10, block_size=2)])
def test_total_of_the_progress_bar_is_what_is_trained_on(loader: Any, limit: Any) -> None:
    module, trainer = fit([], loader, **limit)
    assert total_samples(trainer, module) == module.samples_seen > 0


def test_total_of_data_without_a_length_is_not_known() -> None:
    module, trainer = fit([], DataLoader(Endless(), batch_size=10), limit_train_batches=1)
    assert total_samples(trainer, module) is None


def test_runs_have_the_pictures_that_suit_their_data(run_train: Any, tmp_path: Path) -> None:
    """Labels of several factors, sequences, and sequences of which some is padding, of whose z there are no means."""
    np.savez(tmp_path / "x.npz", x=np.eye(4, dtype=bool)[np.arange(80) % 4].reshape(20, 4, 4))
    np.savez(tmp_path / "padded.npz", x=np.ones((20, 4, 4), bool), lengths=np.arange(20) % 3 + 2)
    steps = ["model=deep_markov", "model.step_dim=2", "model.posterior.width=4", "data=array", "data.batch_size=10"]
    settings = {
        "factors": ["data=sprites", "data.side=8", "data.positions=2", "model.latent_dim=2"],
        "sequences": [*steps, f"data.path={tmp_path}/x.npz", "data.sequences=true"],
        "padded": [*steps, f"data.path={tmp_path}/padded.npz"],
    }
    always = ["reconstructions", "samples", "samples_drawn"]
    expected = {"factors": ["latents", "manifold", *always], "sequences": ["latents", *always], "padded": always}
    for name, overrides in settings.items():
        few = ["callbacks.images.num_samples=4", "callbacks.images.num_reconstructions=2"]
        folder, _ = run_train(*overrides, *few, "hidden=[5]", "max_samples=100", "logger=none", folder=tmp_path / name)
        assert [path.stem.partition("_")[2] for path in sorted(folder.images.glob("*.png"))] == expected[name]
