"""Which runs figures 4 and 5 show; the pictures themselves are in the test of the program."""

import pytest
import torch

from aevb import posteriors, priors
from aevb.reports import find, samples
from aevb.reports.samples import representatives, tiled

from ..small import small_model


def test_panel_shows_the_longest_run_of_aevb_with_a_checkpoint(make_run, tmp_path):
    for name, end, setting in (
        ("wake-sleep", 9000, {"objective": "wake_sleep"}),
        ("short", 1000, {}),
        ("long", 2000, {}),
        ("other-seed", 2000, {"seed": 1}),
        ("no-checkpoint", 5000, {}),
        ("only-wake-sleep", 10, {"objective": "wake_sleep", "latent_dim": 2}),
        ("faces", 10, {"data": "freyface"}),
    ):
        path = make_run(name, {"val/elbo": {end: -1.0}}, **setting)
        if name != "no-checkpoint":
            (path / "checkpoints").mkdir()
            (path / "checkpoints" / ("last.ckpt" if name == "long" else "best.ckpt")).touch()
    chosen = representatives(find([str(tmp_path / "runs")])[0])
    assert [run.folder.path.name for run in chosen] == ["faces", "only-wake-sleep", "long"]


def test_figure4_skips_models_whose_z_is_constrained(make_run, tmp_path, monkeypatch):
    path = make_run("positive", {"val/elbo": {10: -1.0}}, latent_dim=2)
    (path / "checkpoints").mkdir()
    (path / "checkpoints" / "best.ckpt").touch()
    vae = small_model((1, 4, 4), posterior=posteriors.Gamma, prior=priors.Gamma)
    monkeypatch.setattr(samples, "load_run", lambda *arguments: vae)
    item, (skipped,) = samples.manifolds(find([str(tmp_path / "runs")])[0])
    assert item is None
    assert "figure 4 needs latent variables of any sign" in skipped.reason


@pytest.mark.parametrize("shape", [(5, 3), (5, 1, 4, 4), (1, 4, 4), (3, 4, 4)], ids=str)
def test_samples_of_images_and_sequences_are_one_picture(shape):
    picture = tiled(torch.rand(9, *shape), 3)
    assert picture.ndim == 3
    assert picture.shape[0] == 3
