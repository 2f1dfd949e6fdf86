"""The estimator keeps scikit-learn's conventions, and gives what the model gives."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import aevb
from aevb.errors import ConfigError

SMALL = {"latent_dim": 2, "hidden": [4], "max_epochs": 2}
X = np.random.default_rng(0).normal(size=(60, 5))

NOISE = dict.fromkeys(
    ("check_methods_sample_order_invariance", "check_methods_subset_invariance"),
    "score_samples draws z, in the order of the datapoints",
)


@pytest.mark.slow
def test_conventions_of_scikit_learn():
    estimator = aevb.VAEEstimator(latent_dim=2, hidden=[4], max_epochs=1)
    results = check_estimator(estimator, expected_failed_checks=NOISE, on_skip=None)
    assert len(results) > 40


def test_results_are_those_of_the_model():
    estimator = aevb.VAEEstimator(**SMALL).fit(X)
    vae = estimator.vae_
    np.testing.assert_allclose(estimator.transform(X), vae.encode(X[:, None, None]).mean, rtol=1e-5, atol=1e-6)
    z = estimator.transform(X)
    np.testing.assert_allclose(estimator.inverse_transform(z), vae.decode(z).mean.view(60, 5), rtol=1e-5)
    scores = estimator.score_samples(X)
    assert np.array_equal(scores, estimator.score_samples(X))
    many = vae.log_marginal(X[:, None, None], 5000)
    np.testing.assert_allclose(scores, many, atol=0.5)
    assert estimator.score(X) == pytest.approx(scores.mean())
    assert estimator.sample(3).shape == (3, 5)


@pytest.mark.parametrize(
    "overrides", [["model/posterior=iaf"], ["model=ladder", "model.latent_dim=70"]], ids=["iaf", "ladder"]
)
def test_means_without_a_closed_form_are_of_draws(overrides):
    """Within the error of 100 draws of many more, and the same ones each time."""
    settings = {"hidden": [4], "max_epochs": 1, "overrides": overrides}
    estimator = aevb.VAEEstimator(**settings, **({"latent_dim": 2} if "iaf" in overrides[0] else {})).fit(X)
    means = estimator.transform(X)
    assert np.array_equal(means, estimator.transform(X))
    draws = estimator.vae_.encode(X[:, None, None]).sample((5000,)).numpy()
    assert (np.abs(means - draws.mean(0)) < 6 * draws.std(0) / 10).all()


def test_images_keep_their_shape():
    images = np.random.default_rng(0).random((40, 1, 4, 3))
    estimator = aevb.VAEEstimator("bernoulli", **SMALL).fit(images)
    assert estimator.transform(images).shape == (40, 2)
    assert estimator.inverse_transform(np.zeros((7, 2))).shape == (7, 1, 4, 3)


def test_bytes_are_scaled_as_in_training():
    images = np.random.default_rng(0).integers(0, 256, (40, 6), dtype=np.uint8)
    estimator = aevb.VAEEstimator("bernoulli", **SMALL).fit(images)
    means = estimator.vae_.encode(torch.tensor(images)[:, None, None] / 255).mean
    np.testing.assert_allclose(estimator.transform(images), means, rtol=1e-5, atol=1e-6)
    assert np.isfinite(estimator.score(images))


def test_the_latent_variables_have_names():
    estimator = aevb.VAEEstimator(**SMALL).set_output(transform="pandas")
    assert estimator.fit_transform(X).columns.tolist() == ["vaeestimator0", "vaeestimator1"]


def test_it_is_part_of_pipelines_and_grid_searches():
    pipeline = make_pipeline(StandardScaler(), aevb.VAEEstimator(**SMALL))
    search = GridSearchCV(pipeline, {"vaeestimator__latent_dim": [1, 2]}, cv=2).fit(X)
    assert search.best_params_["vaeestimator__latent_dim"] in (1, 2)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_wrong_argument_is_one_line():
    with pytest.raises(ConfigError, match=r"^likelihood must be one of .*; did you mean gaussian\?$"):
        aevb.VAEEstimator("gausian").fit(X)
    with pytest.raises(ValueError, match="contains NaN"):
        aevb.VAEEstimator(**SMALL).fit(np.full((20, 3), np.nan))


def test_scikit_learn_is_not_imported_with_aevb():
    code = "import sys, aevb; assert not {'sklearn', 'torch'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
