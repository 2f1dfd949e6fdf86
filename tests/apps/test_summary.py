"""What is printed at the end of a run."""

import re

import numpy as np

from ..small import PAPER

SHORT = ["model.encoder.hidden=[16]", "model.decoder.hidden=[16]", "logger=none"]


def test_pictures_are_named_only_where_there_are_some(run_train, capsys):
    folder, _ = run_train(*SHORT, "max_samples=300", "callbacks.images=null")
    assert "  pictures  " not in capsys.readouterr().out
    assert not list(folder.images.glob("*"))


def test_active_units_are_counted(run_train, capsys):
    run_train(*SHORT, *PAPER, "model.initialization=xavier", "callbacks.images.manifold_size=3", "max_samples=6000")
    out = capsys.readouterr().out
    assert re.search(r"active units +2 of 2 latent variables\n", out)
    assert "  pictures  " in out
    assert "collapsed" not in out


def test_collapsed_posterior_gives_a_warning_with_the_remedy(run_train, tmp_path, capsys):
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).random((1500, 4, 4)) < 0.5)
    run_train(
        *SHORT,
        "data=array",
        f"data.path={tmp_path / 'noise.npy'}",
        "objective.beta=1000",
        "max_samples=3000",
        "optimizer.lr=0.1",
        "callbacks.images=null",
    )
    out = capsys.readouterr().out
    assert "warning: the posterior has collapsed" in out
    for remedy in ("objective.beta_warmup_samples=", "objective.free_bits=", "optimizer.lr", "model.initialization="):
        assert remedy in out
