"""A search by Optuna: what is left of it, and trials that fall behind."""

from types import SimpleNamespace

import pytest

from aevb.runs.folder import RunFolder

optuna = pytest.importorskip("optuna", reason="the extra optuna is not installed")

from optuna.distributions import LogUniformDistribution  # noqa: E402
from optuna.trial import TrialState  # noqa: E402

from aevb.sweeps.search import continue_study, has_result  # noqa: E402
from hydra_plugins.aevb_sweepers import SearchSweeper  # noqa: E402

SPACE = LogUniformDistribution(0.001, 0.3)
FIRST = [{"optimizer.lr": 0.01}, {"optimizer.lr": 0.02}]


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path}/optuna.db"


def load(storage):
    return optuna.load_study(study_name="s", storage=storage)


def ask(study):
    trial = study.ask()
    trial._suggest("optimizer.lr", SPACE)
    return trial


def test_search_starts_with_first_trials_and_continues(storage):
    assert continue_study(storage, "s", "maximize", 6, FIRST) == (6, 0)
    study = load(storage)
    assert ask(study).params == FIRST[0]
    study.tell(0, -30.0)
    assert ask(study).params == FIRST[1]
    study.tell(1, state=TrialState.FAIL)
    interrupted = ask(study).params

    assert continue_study(storage, "s", "maximize", 6, FIRST) == (4, 4)
    study = load(storage)
    assert ask(study).params == interrupted
    study.tell(3, -20.0)
    assert study.best_trial.params == interrupted
    assert continue_study(storage, "s", "maximize", 3, FIRST) == (0, 4)


def test_search_whose_trials_all_fail_ends_without_a_traceback(storage):
    continue_study(storage, "s", "maximize", 2, FIRST)
    study = load(storage)
    ask(study)
    study.tell(0, state=TrialState.FAIL)
    sweeper = SearchSweeper.__new__(SearchSweeper)
    sweeper.sweeper = SimpleNamespace(storage=storage, study_name="s", sweep=lambda arguments: study.best_trial)
    sweeper.sweep([])
    assert not has_result(storage, "s")
    ask(study)
    study.tell(1, -20.0)
    assert has_result(storage, "s")


TINY = ["max_samples=6000", "model.encoder.hidden=[16]", "logger=none", "callbacks.images=null"]


def pruning(storage):
    return [
        "+callbacks.pruning._target_=aevb.sweeps.search.Pruning",
        f"+callbacks.pruning.storage={storage}",
        "+callbacks.pruning.study=s",
        "+callbacks.pruning.startup_trials=1",
        "trainer.check_val_every_n_epoch=1",
    ]


@pytest.mark.parametrize(("others", "state"), [(1000.0, "pruned"), (-1000.0, "finished")])
def test_trial_behind_the_others_is_pruned(run_train, storage, others, state):
    continue_study(storage, "s", "maximize", 6, FIRST)
    study = load(storage)
    good = ask(study)
    for samples in (1300, 2600, 3900, 5200):
        good.report(others, samples)
    study.tell(good, others)
    running = ask(study)
    lr = running.params["optimizer.lr"]
    folder, metric = run_train(*TINY, *pruning(storage), f"optimizer.lr={lr}")
    status = folder.status()
    assert status["state"] == state
    assert metric == status["results"]["val/elbo"]
    assert status["samples"] == (1300 if state == "pruned" else 6000)
    (found,) = load(storage).get_trials(states=(TrialState.RUNNING,))
    assert found.intermediate_values[1300] <= metric


def test_run_of_no_search_is_not_pruned(run_train, storage):
    continue_study(storage, "s", "maximize", 6, [])
    folder, _ = run_train(*TINY, *pruning(storage))
    assert folder.status()["state"] == "finished"
    assert load(storage).trials == []


RUN = ["max_samples=1300", "model.encoder.hidden=[16]", "logger=none", "callbacks.images=null"]


def test_search_is_continued_by_the_same_command(command, tmp_path):
    arguments = ["sweep=learning_rate", "sweep.name=s", *RUN]
    folder = tmp_path / "outputs" / "sweeps" / "s"
    for trials in (2, 4):
        process = command(*arguments, f"hydra.sweeper.n_trials={trials}")
        assert process.returncode == 0, process.stderr
        assert process.stdout.count("finished after") == 2
        study = optuna.load_study(study_name="learning_rate", storage=f"sqlite:///{folder}/optuna.db")
        done = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
        assert len(done) == trials
    assert [trial.params["optimizer.lr"] for trial in done[:3]] == [0.01, 0.02, 0.1]
    for trial in done:
        run = RunFolder(folder / f"optimizer.lr={trial.params['optimizer.lr']}")
        assert run.status()["results"]["val/elbo"] == trial.value
