"""Parts that do not fit each other are refused before training."""

import pytest

from aevb.errors import ConfigError
from aevb.runs.folder import RunFolder

TINY = ["max_samples=2000", "model.encoder.hidden=[16]", "logger=none"]
"""A run of about a second."""


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("objective.free_bits=0.1", "objective.free_bits_per=dimension needs a posterior and a prior that factorize"),
        ("objective.kl=analytic", "objective.kl=analytic: no closed form is known for GaussianFlow and Normal"),
    ],
)
def test_an_objective_that_does_not_suit_the_model_is_refused_before_training(run_train, override, message, tmp_path):
    with pytest.raises(ConfigError, match=f"^{message}"):
        run_train(*TINY, "model/posterior=iaf", override)
    folder = RunFolder(tmp_path / "run")
    assert folder.status()["state"] == "failed"
    assert "Traceback" not in folder.log_file.read_text()


def test_bad_trainer_leaves_no_wandb_run_open(run_train, tmp_path):
    with pytest.raises(ConfigError, match=r"^trainer\.accelerator must be"):
        run_train(*TINY, "logger=wandb", "trainer.accelerator=abacus")
    assert not (tmp_path / "run" / "wandb").exists()
