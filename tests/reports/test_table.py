"""The table of runs, and their labels."""

import pytest

from aevb.reports import find, table
from aevb.reports.table import labels
from aevb.runs.folder import RunFolder


def test_table_is_sorted_by_elbo_and_has_the_estimates(make_run, add_evaluation, tmp_path):
    for seed, elbo in ((0, -100.0), (1, -90.0), (2, -110.0)):
        path = make_run(f"seed-{seed}", {"val/elbo": {10: elbo}, "test/elbo": {10: elbo}}, seed=seed)
    add_evaluation(path, estimator="importance_sampling", split="test", value=-97.123, standard_error=0.014)
    make_run("running", {"train/elbo": {10: -200.0}}, seed=3, state="failed", error="the loss became nan")
    rows = table(find([str(tmp_path / "runs")])[0])
    assert [row["what"] for row in rows] == ["seed=1", "seed=0", "seed=2", "seed=3"]
    assert [row["test/elbo"] for row in rows] == [-90.0, -100.0, -110.0, None]
    assert rows[2]["test/importance_sampling"] == "-97.12 ± 0.01"
    assert rows[3]["reason"] == "the loss became nan"
    assert "test/kl" not in rows[0]
    assert table([]) == []


@pytest.mark.parametrize(
    ("checkpoint", "samples", "text"),
    [
        ("best", 20, "-97.12 ± 0.01"),
        ("best", 10, "-97.12 ± 0.01 after 10 samples"),
        ("last", 3000, "-97.12 ± 0.01"),
        ("last", 20, "-97.12 ± 0.01 after 20 samples"),
    ],
)
def test_estimates_of_earlier_weights_say_so(make_run, add_evaluation, tmp_path, checkpoint, samples, text):
    path = make_run("run", {"val/elbo": {10: -100.0, 20: -90.0, 30: -95.0}}, samples=3000)
    about = {"checkpoint": checkpoint, "samples": samples, "standard_error": 0.014}
    add_evaluation(path, estimator="importance_sampling", split="test", value=-97.123, **about)
    (row,) = table(find([str(tmp_path / "runs")])[0])
    assert row["test/importance_sampling"] == text


def test_estimates_and_metrics_of_the_same_name_have_own_columns(make_run, add_evaluation, tmp_path):
    for seed, elbo in ((0, -100.0), (1, -90.0)):
        path = make_run(f"seed-{seed}", {"test/elbo": {10: elbo}}, seed=seed)
        add_evaluation(path, estimator="elbo", split="test", value=elbo - 1, standard_error=0.01)
    rows = table(find([str(tmp_path / "runs")])[0])
    assert [row["test/elbo"] for row in rows] == [-90.0, -100.0]
    assert [row["test/elbo (evaluate.py)"] for row in rows] == ["-91.00 ± 0.01", "-101.00 ± 0.01"]


def test_labels_have_only_differing_overrides(make_run, tmp_path):
    for latent_dim, objective in ((3, "sgvb"), (5, "sgvb"), (5, "wake_sleep")):
        make_run(f"{latent_dim}{objective}", {"val/elbo": {1: 1.0}}, latent_dim=latent_dim, objective=objective)
    runs, _ = find([str(tmp_path / "runs")])
    assert sorted(labels(runs).values()) == [
        "objective=sgvb model.latent_dim=3",
        "objective=sgvb model.latent_dim=5",
        "objective=wake_sleep model.latent_dim=5",
    ]
    assert list(labels(runs[:1]).values()) == ["MNIST, SGVB"]


def test_runs_without_a_command_are_told_apart_by_their_folders(make_run, tmp_path):
    """They may differ in anything, so they are no seeds of one experiment."""
    for name in ("wide", "narrow"):
        RunFolder(make_run(name, {"val/elbo": {1: 1.0}})).overrides_file.unlink()
    runs, _ = find([str(tmp_path / "runs")])
    assert sorted(labels(runs, ignore=["seed"]).values()) == ["MNIST, SGVB, narrow", "MNIST, SGVB, wide"]
