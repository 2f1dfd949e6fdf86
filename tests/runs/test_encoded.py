"""The latent variables of a run as data, and runs of models that take conditions."""

import json

import pytest
import torch

from aevb import load_run
from aevb.data import Digits
from aevb.errors import ConfigError
from aevb.runs.encoded import Encoded

SHORT = ["logger=none", "callbacks.images=null", "model.encoder.hidden=[20]", "optimizer=adam", "max_samples=2000"]


def results(folder) -> dict[str, float]:
    return json.loads((folder.path / "status.json").read_text())["results"]


def test_the_means_of_a_run_are_data_for_another(run_train, tmp_path):
    first, _ = run_train(*SHORT, "model.latent_dim=3", folder=tmp_path / "m1")
    data = Encoded(first.path, batch_size=50)
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


def test_a_model_that_takes_a_condition_is_not_encoded_with(run_train, tmp_path):
    folder, _ = run_train(*SHORT, "model=conditional", folder=tmp_path / "c")
    with pytest.raises(ConfigError, match=r"^data\.run: the model of .* takes a condition"):
        Encoded(folder.path).setup()
