"""The figure of approximation and amortization gaps."""

import json
from collections.abc import Callable
from pathlib import Path

from aevb.reports import find
from aevb.reports.gaps import inference_gaps

from ..estimators.test_gaps import ELBO, LOCAL, SAMPLED


def test_runs_with_a_local_elbo_have_bars(make_run: Callable[..., Path], tmp_path: Path) -> None:
    for name, latent_dim in (("a", 2), ("b", 5)):
        folder = make_run(name, {"val/elbo": {1: -1.0}}, latent_dim=latent_dim)
        (folder / "evaluation.json").write_text(json.dumps({"entries": [ELBO, LOCAL, SAMPLED]}))
    make_run("c", {"val/elbo": {1: -1.0}}, latent_dim=7)
    item = inference_gaps(find([str(tmp_path / "runs")])[0])
    assert item is not None
    assert [row["run"] for row in item.rows] == ["model.latent_dim=2", "model.latent_dim=5"]
    assert item.rows[0]["approximation"] + item.rows[0]["amortization"] == SAMPLED["value"] - ELBO["value"]
    bars = item.figure.axes[0].patches
    assert [round(bar.get_width(), 6) for bar in bars] == [0.5, 0.5, 1.0, 1.0]


def test_without_one_there_is_no_figure(make_run: Callable[..., Path], tmp_path: Path) -> None:
    make_run("a", {"val/elbo": {1: -1.0}})
    assert inference_gaps(find([str(tmp_path / "runs")])[0]) is None
