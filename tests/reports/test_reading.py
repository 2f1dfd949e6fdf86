"""Run folders in: which are found, and which are named as skipped."""

import shutil

import pytest

from aevb.reports import find

ELBO = {"train/elbo": {1000: -2.0, 2000: -1.5}, "val/elbo": {2000: -1.25}}


def test_summary_describes_the_run(make_run, add_evaluation):
    path = make_run("a", ELBO, data="freyface", objective="wake_sleep", latent_dim=5, seed=7, train_size=100)
    add_evaluation(path, estimator="importance_sampling", split="test", value=-1.0, standard_error=0.1)
    ((run,), skipped) = find([str(path)])
    assert skipped == []
    assert (run.data, run.objective, run.latent_dim, run.seed) == ("FreyFace", "WakeSleep", 5, 7)
    assert (run.train_size, run.samples, run.name) == (100, 2000, str(path))
    assert run.metrics == {"train/elbo": [(1000, -2.0), (2000, -1.5)], "val/elbo": [(2000, -1.25)]}
    assert run.overrides["objective"] == "wake_sleep"
    assert run.evaluation[0]["value"] == -1.0
    assert run.last("train/elbo") == -1.5
    assert run.last("test/elbo") is None


def test_results_take_precedence_over_metrics(make_run):
    ((run,), _) = find([str(make_run("a", ELBO, results={"val/elbo": -1.0}))])
    assert run.last("val/elbo") == -1.0
    assert run.last("train/elbo") == -1.5


@pytest.mark.parametrize("pattern", ["runs", "runs/*", "runs/**", "runs/[ab]", "."])
def test_each_run_is_found_once(make_run, tmp_path, monkeypatch, pattern):
    paths = [make_run(name, ELBO) for name in ("a", "b", "nested/c")]
    wanted = paths[:2] if pattern == "runs/[ab]" else paths
    for patterns in ([str(tmp_path / pattern)], [str(path) for path in wanted] + [str(tmp_path / pattern)]):
        runs, skipped = find(patterns)
        assert [run.folder.path.resolve() for run in runs] == wanted
        assert skipped == []
    monkeypatch.chdir(tmp_path)
    assert {run.folder.path.resolve() for run in find([pattern])[0]} == set(wanted)


def damage(path, what):
    if what == "missing":
        shutil.rmtree(path)
    elif what == "empty":
        shutil.rmtree(path)
        path.mkdir()
    elif what == "claimed":
        shutil.rmtree(path / ".hydra")
    elif what == "no status":
        (path / "status.json").unlink()
    elif what == "empty status":
        (path / "status.json").write_text("")
    elif what == "other status":
        (path / "status.json").write_text('{"healthy": true}')
    elif what == "other config":
        (path / ".hydra" / "config.yaml").write_text("db: mysql\n")
    elif what == "damaged config":
        (path / ".hydra" / "config.yaml").write_text("a: [1,\n")
    elif what == "damaged overrides":
        (path / ".hydra" / "overrides.yaml").write_text("- a b = [\n")
    elif what == "other metrics":
        (path / "metrics.csv").write_text("epoch,loss\n1,2\n")
    elif what == "damaged evaluation":
        (path / "evaluation.json").write_text("{")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("missing", "it does not exist"),
        ("empty", "it contains no run"),
        ("claimed", "is not a run folder"),
        ("no status", "status.json cannot be read"),
        ("empty status", "status.json cannot be read"),
        ("other status", "status.json of another program"),
        ("other config", "not a run of aevb"),
        ("damaged config", "config.yaml cannot be read"),
        ("damaged overrides", "overrides.yaml cannot be read"),
        ("other metrics", "metrics.csv cannot be read"),
        ("damaged evaluation", "evaluation.json cannot be read"),
    ],
)
def test_invalid_run_is_skipped_with_a_reason(make_run, what, reason):
    good, bad = make_run("good", ELBO), make_run("bad", ELBO)
    damage(bad, what)
    runs, skipped = find([str(good), str(bad)])
    assert [run.folder.path for run in runs] == [good]
    ((path, found),) = skipped
    assert path == str(bad)
    assert reason in found


def test_running_run_is_read_up_to_its_last_complete_row(make_run):
    path = make_run("a", ELBO, state="running")
    with (path / "metrics.csv").open("a") as file:
        file.write("3000")
    ((run,), skipped) = find([str(path)])
    assert skipped == []
    assert run.metrics["train/elbo"] == [(1000, -2.0), (2000, -1.5)]
    (path / "metrics.csv").unlink()
    assert find([str(path)])[0][0].metrics == {}


def test_values_that_are_not_finite_are_left_out(make_run):
    ((run,), _) = find([str(make_run("a", {"train/elbo": {1000: float("nan"), 2000: float("inf"), 3000: -1.0}}))])
    assert run.metrics["train/elbo"] == [(3000, -1.0)]
