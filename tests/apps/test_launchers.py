"""Sweeps whose jobs run side by side, and sweeps that search."""

import pytest

from aevb.runs import RunFolder

TINY = ["max_samples=1300", "model.encoder.hidden=[16]", "logger=none", "callbacks.images=null"]

pytestmark = pytest.mark.timeout(600)


def test_joblib_runs_jobs_in_processes_of_their_own(command, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="the extra joblib is not installed")
    process = command("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "model.latent_dim=2,0", *TINY)
    assert process.returncode == 1, process.stderr
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    states = {path.name: RunFolder(path).status()["state"] for path in folder.iterdir() if path.is_dir()}
    assert states == {"model.latent_dim=2": "finished", "model.latent_dim=0": "failed"}
    assert "failed: model.latent_dim=0: model.latent_dim must be" in process.stdout


def test_search_is_continued_by_the_same_command(command, tmp_path):
    optuna = pytest.importorskip("optuna", reason="the extra optuna is not installed")
    arguments = ["sweep=learning_rate", "sweep.name=s", *TINY]
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


def test_missing_package_is_named_with_its_extra(monkeypatch, capsys):
    from aevb import apps

    monkeypatch.setattr(apps, "find_spec", lambda name: None)
    for argument, extra in {"hydra/launcher=joblib": "joblib", "sweep=learning_rate": "optuna"}.items():
        monkeypatch.setattr("sys.argv", ["train.py", argument])
        with pytest.raises(SystemExit) as stop:
            apps.check_arguments()
        assert stop.value.code == 2
        expected = f"error: {argument} is an extra; install it with: pip install 'aevb[{extra}]'\n"
        assert capsys.readouterr().err == expected
