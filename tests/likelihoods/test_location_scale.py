"""Likelihoods with a location. `bounded: auto` squashes it exactly where all training data lie in [0, 1]."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import aevb
from aevb.data.loader import range_of_loader
from aevb.errors import ConfigError
from aevb.likelihoods import (
    FixedGaussian,
    Gaussian,
    GaussianPerValue,
    Laplace,
    Logistic,
    OptimalGaussian,
    ScalarGaussian,
    StudentT,
)
from aevb.objectives import SGVB
from aevb.training.module import AEVB

from ..data.test_module import Floats, grey
from ..small import quiet_trainer, small_model

HEADS = [FixedGaussian, Gaussian, GaussianPerValue, Laplace, Logistic, OptimalGaussian, ScalarGaussian, StudentT]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    ("lowest", "highest", "bounded"),
    [(0, 1, True), (0.2, 0.3, True), (0, 1.0000001, False), (-1e-7, 1, False), (0, 255, False), (-3, 3, False)],
)
def test_location_is_squashed_exactly_where_the_data_lie_in_the_unit_interval(head, lowest, highest, bounded):
    h = 10 * torch.randn(1, 50, 3)
    auto = head((3,), (1, 2, 2))
    assert torch.equal(auto(h).mean, auto.project(h)[0])  # linear until the data are known
    auto.adapt_to(lowest, highest)
    assert auto.bounded is bounded
    raw = auto.project(h)[0]
    torch.testing.assert_close(auto(h).mean, raw.sigmoid() if bounded else raw)
    head((3,), (1, 2, 2), bounded=False).adapt_to(lowest, highest)
    if bounded:
        head((3,), (1, 2, 2), bounded=True).adapt_to(lowest, highest)
    else:
        with pytest.raises(ValueError, match=rf"^model\.likelihood\.bounded=true .* to {re.escape(f'{highest:.9g}')}"):
            head((3,), (1, 2, 2), bounded=True).adapt_to(lowest, highest)


@pytest.mark.parametrize("head", HEADS)
def test_locations_are_bounded_on_request(head: type) -> None:
    h = 10 * torch.randn(1, 50, 3)
    bounded = head((3,), (1, 2, 2), bounded=True)
    free = head((3,), (1, 2, 2), bounded=False)
    free.load_state_dict(bounded.state_dict())
    torch.testing.assert_close(free(h).mean.sigmoid(), bounded(h).mean)


def test_chosen_bounds_are_stored_with_the_weights():
    for decided in (True, False):
        trained = Gaussian((3,), (1, 2, 2), bounded=decided)
        loaded = Gaussian((3,), (1, 2, 2))
        loaded.load_state_dict(trained.state_dict())
        assert loaded.bounded is decided


@pytest.mark.parametrize(("low", "high", "bounded"), [(0.0, 1.0, True), (-2.0, 2.0, False)])
def test_any_lightning_user_gets_it(low, high, bounded):
    x = torch.linspace(low, high, 40 * 4).view(40, 1, 2, 2)
    loader = DataLoader(TensorDataset(x.unflatten(0, (10, 4))), batch_size=None, shuffle=True)
    torch.manual_seed(3)
    first = torch.rand(1)
    torch.manual_seed(3)
    assert range_of_loader(loader) == (low, high)
    assert torch.equal(torch.rand(1), first)
    for data in (loader, grey(batch_size=5) if bounded else Floats(batch_size=2)):
        shape = (1, 2, 2) if data is loader or not bounded else (1, 8, 6)
        module = AEVB(
            small_model(shape, likelihood=Gaussian), SGVB(weight_prior=False), partial(torch.optim.Adam, lr=0.01)
        )
        quiet_trainer(max_epochs=1, limit_val_batches=0).fit(module, data)
        assert module.vae.p.head.bounded is bounded


def table(scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """A standardized table of 12 columns: three linear factors and noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 3)) @ rng.normal(size=(3, 12)) + 0.3 * rng.normal(size=(2000, 12))
    return (shift + scale * (x - x.mean(0)) / x.std(0)).astype(np.float32)


SETTINGS = ["data=array", "logger=none", "callbacks.images=null", "callbacks.progress=null", "optimizer=adam"]


def test_standardized_table_is_modelled(run_train, tmp_path, capsys):
    x = table()
    np.save(tmp_path / "x.npy", x)
    run = [*SETTINGS, f"data.path={tmp_path}/x.npy", "model=gaussian", "model.latent_dim=3", "optimizer.lr=0.003"]
    folder, _ = run_train(*run, "model.encoder.hidden=[32]", "max_samples=150000", "trainer.check_val_every_n_epoch=20")
    assert "location linear" in capsys.readouterr().out
    assert folder.config().model.likelihood.bounded is False
    assert aevb.load_run(folder.path).p.head.bounded is False
    # The density of a Gaussian of the same covariance is what a model of three linear factors can reach.
    _, log_determinant = np.linalg.slogdet(np.cov(x.T))
    best = -0.5 * (12 * np.log(2 * np.pi) + log_determinant + 12)
    assert best - 1 < folder.status()["results"]["test/elbo"] < best + 0.5
    with pytest.raises(ConfigError, match=r"^model\.likelihood\.bounded=true keeps .*; set it to auto or false, or"):
        run_train(*run, "model.likelihood.bounded=true", "max_samples=1000", folder=tmp_path / "refused")


@pytest.mark.parametrize(("scale", "shift", "bounded"), [(0.1, 0.5, True), (25.0, 128.0, False)])
def test_run_stores_the_shape_and_bounds_of_its_data(run_train, tmp_path, capsys, scale, shift, bounded):
    np.save(tmp_path / "x.npy", table(scale, shift).clip(0))
    run = [*SETTINGS, f"data.path={tmp_path}/x.npy", "model=laplace", "model.encoder.hidden=[4]"]
    folder, _ = run_train(*run, "max_samples=1000")
    assert ("location in (0, 1) by a sigmoid" in capsys.readouterr().out) is bounded
    assert folder.config().model.likelihood.bounded is bounded
    run_train(f"resume={folder.path}", "max_samples=2000", folder=folder.path)
    assert aevb.load_run(folder.path).p.head.bounded is bounded
