"""A sweep by Hydra's own sweeper: a folder for each job, and a job that fails does not end it."""

from aevb.runs import RunFolder


def test_every_job_has_a_folder_and_a_bad_one_does_not_end_the_sweep(command, tmp_path):
    process = command(
        "-m",
        "model.latent_dim=2,0,3",
        "model/prior=laplace",
        "max_samples=300",
        "logger=none",
        "callbacks.images=null",
        "hydra.sweep.dir=sweep",
    )
    assert process.returncode != 0
    assert "error: model.latent_dim must be" in process.stderr
    states = {path.name: RunFolder(path).status()["state"] for path in (tmp_path / "sweep").iterdir() if path.is_dir()}
    assert len(states) == 3
    assert all("model@prior=laplace" in name for name in states)
    by_latent_dim = {name.split("model.latent_dim=")[1][0]: state for name, state in states.items()}
    assert by_latent_dim == {"2": "finished", "0": "failed", "3": "finished"}


def test_job_of_a_sweep_can_be_resumed_by_its_folder(command, tmp_path):
    settings = ["logger=none", "callbacks.images=null", "hydra.sweep.dir=a sweep"]
    assert command("-m", "seed=1", "model/prior=laplace", "max_samples=1300", *settings).returncode == 0
    (job,) = [path for path in (tmp_path / "a sweep").iterdir() if path.is_dir()]
    assert "=" in job.name
    assert "," in job.name
    process = command(f"resume={job.relative_to(tmp_path)}", "max_samples=2600")
    assert process.returncode == 0, process.stderr
    assert RunFolder(job).status()["samples"] == 2600
