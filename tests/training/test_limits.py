"""The limit that ended a training."""

import re

import pytest

from aevb.errors import ConfigError

TINY = ["max_samples=2000", "model.encoder.hidden=[16]", "logger=none"]
"""A run of about a second."""


STOP = "{_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/elbo, mode: min, patience: 1}"
"""Ends a run that gets better."""


def test_limit_that_ends_a_run_is_named(run_train, capsys):
    folder, _ = run_train(*TINY, "max_samples=300000000", "trainer.max_time=00:00:00:01")
    status = folder.status()
    assert (status["state"], status["ended_by"]) == ("finished", "trainer.max_time")
    resume = "; continue with: python train.py resume=.* trainer.max_time=null"
    at = f"{status['samples']:,} of 300,000,000 samples"
    assert re.search(f"ended by .*trainer.max_time at {at}{resume}", capsys.readouterr().out)
    run_train(f"resume={folder.path}", "trainer.max_time=null", f"+callbacks.stop={STOP}")
    assert folder.status()["samples"] > status["samples"]
    assert folder.status()["ended_by"] == "EarlyStopping"
    with pytest.raises(ConfigError, match=r"^trainer.max_time ends the run before its first minibatch$"):
        run_train(*TINY, "trainer.max_time=00:00:00:00", folder=folder.path.with_name("none"))


def test_limit_of_steps_is_named(run_train):
    folder, _ = run_train(*TINY, "max_samples=3000000", "+trainer.max_steps=26")
    assert (folder.status()["samples"], folder.status()["ended_by"]) == (2600, "trainer.max_steps")
