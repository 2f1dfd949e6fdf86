"""Training by functions gives what the programs give."""

import logging
import random
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from scipy.sparse import csr_array
from torch.utils.data import DataLoader, TensorDataset

import aevb
from aevb.apps.python import option_of
from aevb.data import MNIST, Counts, Digits, FashionMNIST
from aevb.errors import ConfigError
from aevb.likelihoods import Gaussian
from aevb.runs.description import overrides
from aevb.runs.folder import RunFolder

QUICK = ["max_samples=1500", "logger=none", "callbacks.images.num_samples=4", "callbacks.images.num_reconstructions=2"]
SELDOM = "trainer.check_val_every_n_epoch=5"
X = np.random.default_rng(0).integers(0, 256, (150, 6, 5), dtype=np.uint8)


def equal(vae: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(vae.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == other_name and torch.equal(a, b) for (name, a), (other_name, b) in pairs)


@pytest.mark.parametrize(("likelihood", "seed"), [("bernoulli", 0), ("gaussian", 3)])
def test_fit_gives_the_bits_of_train(run_train, tmp_path, likelihood, seed):
    np.save(tmp_path / "x.npy", X)
    settings = [
        f"model={likelihood}",
        f"seed={seed}",
        "model.encoder.hidden=[16]",
        "model.latent_dim=3",
        *QUICK,
        SELDOM,
    ]
    folder, _ = run_train("data=array", f"data.path={tmp_path}/x.npy", *settings)
    same = {"likelihood": likelihood, "latent_dim": 3, "hidden": [16], "max_samples": 1500, "seed": seed}
    vae = aevb.fit(X, **same, overrides=[SELDOM])
    assert equal(vae, aevb.load_run(folder.path))
    assert not vae.training
    assert equal(vae, aevb.fit(torch.from_numpy(X), **same, overrides=[SELDOM]))


def test_a_sparse_matrix_is_fitted_as_the_dense_one():
    counts = np.random.default_rng(0).poisson(0.5, (60, 6))
    settings = {"likelihood": "poisson", "latent_dim": 2, "hidden": [8], "max_epochs": 2}
    assert equal(aevb.fit(csr_array(counts), **settings), aevb.fit(counts, **settings))


def test_a_model_given_labels_is_fitted_as_by_train(run_train, tmp_path):
    y = np.arange(150) % 3
    np.savez(tmp_path / "x.npz", x=X, y=y)
    settings = ["model=conditional", "model/likelihood=gaussian", "model.encoder.hidden=[8]", *QUICK]
    folder, _ = run_train("data=array", f"data.path={tmp_path}/x.npz", *settings)
    vae = aevb.fit(X, y, likelihood="gaussian", hidden=[8], max_samples=1500, overrides=["model=conditional"])
    assert isinstance(vae.p.head, Gaussian)
    assert equal(vae, aevb.load_run(folder.path))
    assert vae.elbo(X, c=torch.eye(3)[y]).shape == (150,)


def test_a_model_given_numbers_is_fitted():
    """x = c + noise, so that a model given c needs no z, and has a higher bound than for conditions of others."""
    rng = np.random.default_rng(0)
    c = rng.normal(size=(400, 2))
    x = c + 0.1 * rng.normal(size=c.shape)
    vae = aevb.fit(x, c=c, latent_dim=1, hidden=[16], max_epochs=30, overrides=["model=regression", "optimizer=adam"])
    assert vae.elbo(x, c=c).mean() > vae.elbo(x, c=c[::-1].copy()).mean() + 1
    assert vae.sample(3, c=c[:3]).shape == (3, 1, 1, 2)


def test_sequences_of_any_length_are_fitted_as_by_train(run_train, tmp_path):
    x, lengths = np.random.default_rng(0).integers(0, 2, (60, 5, 3)).astype("float32"), np.arange(60) % 5 + 1
    np.savez(tmp_path / "x.npz", x=x, lengths=lengths)
    settings = ["model=static", "model.step_dim=2", "model.encoder.hidden=[8]", *QUICK]
    folder, _ = run_train("data=array", f"data.path={tmp_path}/x.npz", "data.batch_size=48", *settings)
    chosen = ["model=static", "model.step_dim=2"]
    vae = aevb.fit(x, lengths=lengths, hidden=[8], max_samples=1500, overrides=chosen)
    assert equal(vae, aevb.load_run(folder.path))


def test_fit_on_a_data_set_gives_the_bits_of_train(run_train):
    folder, _ = run_train("data=digits", "seed=1", "model.latent_dim=3", "ema_decay=0.9", *QUICK)
    vae = aevb.fit(Digits(seed=1), latent_dim=3, max_samples=1500, seed=1, overrides=["ema_decay=0.9"])
    assert equal(vae, aevb.load_run(folder.path))


class Plain(pl.LightningDataModule):
    """As a user of Lightning writes it, with labels and without a test."""

    def setup(self, stage: str | None = None) -> None:
        x = torch.from_numpy(X).float().div(255).unsqueeze(1)
        self.data = TensorDataset(x, torch.zeros(len(x)))

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.data, batch_size=50, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.data, batch_size=50)


def test_fit_takes_any_data_module():
    vae = aevb.fit(Plain(), likelihood="gaussian", latent_dim=2, hidden=[8], max_epochs=3)
    assert vae.elbo(X).shape == (150,)
    assert vae.p.head.bounded is True  # as the data lie in [0, 1]


def test_fit_leaves_no_trace(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    level = logging.getLogger("aevb").level
    aevb.fit(X, latent_dim=2, hidden=[8], max_epochs=1)
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected
    assert logging.getLogger("aevb").level == level
    assert [*tmp_path.iterdir()] == []


def test_small_data_get_small_minibatches():
    vae = aevb.fit(X[:12], latent_dim=2, hidden=np.array([8]), max_epochs=2)
    assert vae.sample(2).shape == (2, 1, 6, 5)


def test_the_option_of_a_data_module_is_its_own():
    assert [option_of(data) for data in (None, Digits(), Counts(), FashionMNIST("d"), MNIST("d"), Plain())] == [
        "array", "digits", "counts", "fashion_mnist", "mnist", "array"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("x", "settings", "message"),
    [
        (X, {"likelihood": "gausian"}, r"^likelihood must be one of bernoulli, .*; did you mean gaussian\?$"),
        (X, {"latent_dim": "two"}, r"^model\.latent_dim must be a whole number .*, got 'two'$"),
        (X, {"hidden": [0]}, r"^model\.encoder\.hidden must be a list of positive sizes .*, got \[0\]$"),
        (X, {"batch_size": 500}, r"^data\.batch_size must be at most 120, .*, got 500$"),
        (X, {"y": np.zeros(3, int)}, r"^data: the array needs one integer for each of the 150 in x"),
        (X, {"overrides": ["objective=semi_supervised"]}, r"^data\.labels_per_batch needs data\.num_labels"),
        (X, {"overrides": ["logger=wandb"]}, r"^logger needs a run folder: use aevb\.train$"),
        (X, {"overrides": ["callbacks.images=null"]}, r"^callbacks\.images needs a run folder"),
        (X, {"overrides": ["seeds=2"]}, r"^seeds: fit returns one model"),
        (X, {"overrides": ["optimizer.lr=null"]}, r"^optimizer\.lr=null needs a run folder"),
        (X, {"overrides": ["objectiv=iwae"]}, r"^objectiv is not a setting of train\.py; did you mean objective\?$"),
        (X / np.nan, {}, r"^data: the array has values in x that are NaN, infinite or too large$"),
        (X.astype(float), {}, r"^likelihood Bernoulli needs data in \[0, 1\]"),
        (X.ravel(), {}, r"^data: the array must hold images \(N, H, W\).*; x is uint8 of shape \(4500,\)$"),
        ([[1, 2], [3]], {}, r"^data: the array has parts of unequal length; pad sequences to one length"),
        (None, {}, r"^data: the array must hold images .*; x is object of shape \(\)$"),
        (X.astype(str), {}, r"^data: the array must hold uint8, .*; x is <U3; x\.astype\(float\) makes floats of"),
        (np.ma.masked_equal(X, X[0, 0, 0]), {}, r"^data: the array has masked values; fill them in, or leave out"),
        (torch.ones(20, 3, dtype=torch.complex64), {}, r"^data: the tensor must hold real numbers, got torch"),
        (X, {"y": np.ma.masked_equal(np.arange(150) % 3, 1)}, r"^data: the array has masked values; "),
        (X, {"c": 2.0, "overrides": ["model=regression"]}, r"^data: the array needs finite numbers for each of the"),
        (X, {"c": np.full(150, 1e300), "overrides": ["model=regression"]}, r"^data: the array needs finite numbers"),
        (X, {"hidden": 8}, r"^model\.encoder\.hidden must be a list of positive sizes .*, got 8$"),
        (X[:2], {}, r"^data: the array has too few datapoints to split, 2$"),
        (Digits(), {"batch_size": 5}, r"^batch_size: a data module has its own; drop it$"),
        (Digits(), {"c": X}, r"^c: a data module has its own; drop it$"),
        (X, {"c": X}, r"^the model takes no condition, but one is given; model=conditional takes one"),
        (X, {"c": X[:3], "overrides": ["model=regression"]}, r"^data: the array needs finite numbers for each of the"),
        (X, {"overrides": ["model=conditional"]}, r"^data\.condition=labels needs labels, and the data have none$"),
    ],
)
def test_wrong_argument_is_one_line(x, settings, message):
    with pytest.raises(ConfigError, match=message) as error:
        aevb.fit(x, **settings)
    assert "\n" not in str(error.value)


def test_train_leaves_the_run_folder_of_the_program(run_train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = ["data=digits", "model.latent_dim=3", *QUICK]
    expected, _ = run_train(*settings)
    config = aevb.compose(settings)
    path = aevb.train(config)
    assert path.parts[-3] == "outputs"
    assert path.name.endswith("-digits-continuous_bernoulli")
    folder = RunFolder(path)
    assert folder.status()["results"] == expected.status()["results"]
    assert equal(aevb.load_run(path), aevb.load_run(expected.path))
    of_program = {file.relative_to(expected.path) for file in expected.path.rglob("*")}
    of_function = {file.relative_to(path) for file in path.rglob("*")}
    assert of_program - of_function == {Path(".hydra/overrides.yaml")}  # no command made this run
    assert of_function < of_program
    assert overrides(folder) == {}
    assert "aevb.train(config)" in folder.log_file.read_text()


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    settings = ["data=digits", "model.encoder.hidden=[4]", "callbacks.images=null", *QUICK[:2], "hydra.run.dir='~/run'"]
    aevb.train(aevb.compose(settings))
    assert (tmp_path / "home" / "run" / "status.json").is_file()
    assert aevb.load_run("~/run").p.latent_dim == 8


def test_a_changed_configuration_is_checked(tmp_path):
    config = aevb.compose(["data=digits", "logger=none", f"hydra.run.dir={tmp_path}/run"])
    config.model.latent_dims = [0]
    config.model.latent_dim = 0
    with pytest.raises(ConfigError, match=r"^model\.latent_dim must be"):
        aevb.train(config)
    assert not (tmp_path / "run").exists()
