"""The latent variables of a run as data, and runs of models that take conditions."""

import json

import pytest
import torch

from aevb import load_run
from aevb.data import Digits
from aevb.errors import ConfigError
from aevb.runs.encoded import Encoded

SHORT = ["logger=none", "callbacks.images=null", "model.encoder.hidden=[20]", "optimizer=adam", "max_samples=2000"]
SHORT += ["model.initialization=xavier"]


def results(folder) -> dict[str, float]:
    return json.loads((folder.path / "status.json").read_text())["results"]


def test_the_means_of_a_run_are_data_for_another(run_train, tmp_path):
    first, _ = run_train(*SHORT, "model.latent_dim=3", folder=tmp_path / "m1")
    data = Encoded(first.path, batch_size=50, draws=False)
    train, _, test = data.splits
    assert train.x.shape == (1397, 1, 1, 3)
    torch.testing.assert_close(train.x.mean(0), torch.zeros(1, 1, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(train.x.std(0), torch.ones(1, 1, 3))
    x, y, _ = Digits().examples("test", 200)
    assert torch.equal(test.y, y)
    z = load_run(first.path).encode(x).mean
    std, mean = (value for value in torch.std_mean(z, 0))
    own = test.x.flatten(1)
    torch.testing.assert_close((z - mean) / std, (own - own.mean(0)) / own.std(0), atol=1e-3, rtol=0)
    few = ["model=semi_supervised", "objective=semi_supervised", "data.num_labels=20", "data.batch_size=50"]
    second, _ = run_train(
        *SHORT, *few, "model/likelihood=gaussian", "data=encoded", f"data.run={first.path}", folder=tmp_path / "m2"
    )
    assert 0 < results(second)["test/accuracy"] <= 1


def test_training_data_are_drawn_anew_from_the_posterior_for_each_epoch(run_train, tmp_path):
    run, _ = run_train(*SHORT, "model.latent_dim=3", folder=tmp_path / "m1")
    data = Encoded(run.path, batch_size=10, train_size=1000)
    posterior = load_run(run.path).encode(Digits().examples("test", 200).x)
    torch.testing.assert_close(data.splits.test.x.flatten(1), posterior.mean)
    loader = data.train_dataloader()
    first, second = (loader._draw() for loader._epoch in (1, 2))
    assert not torch.equal(first, second)
    assert data.noise is not None
    assert data.noise.shape == first.shape == (1000, 1, 1, 3)
    standard = torch.cat([(draw - loader.x) / data.noise for draw in (first, second)])
    torch.testing.assert_close(standard.mean((0, 1, 2)), torch.zeros(3), atol=0.1, rtol=0)
    torch.testing.assert_close(standard.std(0), torch.ones(1, 1, 3), atol=0.1, rtol=0)
    whole = Encoded(run.path, batch_size=10)
    rows = (whole.splits.train.x == data.splits.train.x[7]).all(-1).flatten().nonzero().flatten()
    assert whole.noise is not None
    assert any(torch.equal(whole.noise[row], data.noise[7]) for row in rows)


def test_a_posterior_that_is_no_diagonal_gaussian_is_not_drawn_from(run_train, tmp_path):
    run, _ = run_train(*SHORT, "model.latent_dim=2", "model/posterior=full_gaussian", folder=tmp_path / "m1")
    assert Encoded(run.path, batch_size=50, draws=False).splits.train.x.shape == (1397, 1, 1, 2)
    with pytest.raises(ConfigError, match=r"^data\.draws must be false: q\(z\|x\) of the run is no Gaussian"):
        Encoded(run.path, batch_size=50).setup()


def test_latent_variables_that_are_not_active_are_left_out(run_train, tmp_path):
    run, _ = run_train(*SHORT, "model.latent_dim=3", folder=tmp_path / "m1")
    state = torch.load(run.path / "checkpoints" / "best.ckpt", weights_only=False)
    for name in ("weight", "bias"):
        state["state_dict"][f"vae.q.head.layer.{name}"][1] = 0  # the mean of z_1 is 0 for all x
    torch.save(state, run.path / "checkpoints" / "best.ckpt")
    data = Encoded(run.path, batch_size=10)
    x = Digits().examples("test", 200).x
    posterior = load_run(run.path).encode(x)
    torch.testing.assert_close(data.splits.test.x.flatten(1), posterior.mean[:, [0, 2]])
    assert data.noise is not None
    assert data.noise.shape == (1397, 1, 1, 2)
    for name in ("weight", "bias"):
        state["state_dict"][f"vae.q.head.layer.{name}"][:] = 0
    torch.save(state, run.path / "checkpoints" / "best.ckpt")
    with pytest.raises(ConfigError, match=r"^data\.run: no latent variable of .* is active, its posterior has"):
        Encoded(run.path).setup()


def test_a_model_that_takes_a_condition_is_not_encoded_with(run_train, tmp_path):
    folder, _ = run_train(*SHORT, "model=conditional", folder=tmp_path / "c")
    with pytest.raises(ConfigError, match=r"^data\.run: the model of .* takes a condition"):
        Encoded(folder.path).setup()
