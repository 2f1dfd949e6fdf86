"""`train.py`: the run folder it leaves, how it is interrupted, continued, and how it fails."""

import json
import math
import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

import aevb
import aevb.training.module
from aevb.errors import ConfigError, Stopped
from aevb.files import machine
from aevb.runs.folder import RunFolder

from ..compare import metrics_without_clock, weights
from ..small import PAPER

TINY = ["max_samples=2000", "model.encoder.hidden=[16]", "logger=none"]
"""A run of about a second."""


def test_run_folder_is_complete(run_train):
    folder, metric = run_train(*TINY, "callbacks.metrics.every_samples=500")

    status = json.loads(folder.status_file.read_text())
    assert status["state"] == "finished"
    assert status["samples"] == 2000
    assert status["error"] is None
    assert status["started"] <= status["ended"]
    assert folder.overrides_file.read_text().splitlines()[0] == f"- {TINY[0]}"
    assert folder.config().model.encoder.hidden == [16]

    rows = metrics_without_clock(folder)
    trained = [int(row["samples"]) for row in rows if row["train/elbo"]]
    assert trained[-1] == 2000
    assert len(trained) == len(set(trained)) == 2
    validated = [float(row["val/elbo"]) for row in rows if row["val/elbo"]]
    assert metric == pytest.approx(max(validated))
    (tested,) = [row for row in rows if row["test/elbo"]]
    parts = {name: float(tested[f"test/{name}"]) for name in ("elbo", "log_likelihood", "kl")}
    assert parts["elbo"] == pytest.approx(parts["log_likelihood"] - parts["kl"], abs=1e-3)

    pictures = {path.name for path in folder.images.glob("*.png")}
    names = ("samples", "samples_drawn", "reconstructions", "manifold", "latents")
    assert pictures == {f"000002000_{name}.png" for name in names}


def test_more_than_two_latents_are_shown_by_their_principal_components(run_train):
    folder, _ = run_train("max_samples=2000", "logger=none", "model.latent_dim=5")
    assert {path.stem.partition("_")[2] for path in folder.images.iterdir()} == {
        "samples", "samples_drawn", "reconstructions", "manifold", "latents"
    }  # fmt: skip


@pytest.mark.parametrize("model", [["model/posterior=gamma", "model/prior=gamma"], ["model=ladder"]], ids=" ".join)
def test_constrained_and_layered_latent_variables_have_all_pictures_but_the_manifold(run_train, model):
    """The grid of the manifold is a Gaussian's."""
    folder, metric = run_train(*TINY, *model)
    assert math.isfinite(metric)
    pictures = {path.name for path in folder.images.glob("*.png")}
    assert pictures == {f"000002000_{name}.png" for name in ("samples", "samples_drawn", "reconstructions", "latents")}


def test_training_raises_the_elbo(run_train):
    folder, _ = run_train("max_samples=20000", "logger=none")
    curve = [float(row["val/elbo"]) for row in metrics_without_clock(folder) if row["val/elbo"]]
    # The entropy of independent pixels, the best that a model without latent variables can do, is no ELBO near this.
    assert curve[-1] > curve[0] + 0.5


def test_last_epoch_is_validated_though_its_turn_has_not_come(run_train):
    folder, _ = run_train(
        "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2", "model.encoder.hidden=[16]", "logger=none"
    )
    assert [int(row["samples"]) for row in metrics_without_clock(folder) if row["val/elbo"]] == [2600, 3900]


def test_trained_module_answers(run_train):
    folder, _ = run_train(*TINY, *PAPER)
    module = aevb.load_run(folder.path)
    x = torch.rand(5, 1, 8, 8)
    assert module.sample(3).shape == (3, 1, 8, 8)
    assert set(module.sample(3, mean=False).unique().tolist()) <= {0.0, 1.0}
    assert module.reconstruct(x).shape == x.shape
    posterior = module.encode(x)
    assert module.decode(posterior.mean).mean.shape == x.shape

    torch.manual_seed(0)
    elbo = module.elbo(x, num_samples=4000)
    prior = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    with torch.no_grad():
        z = posterior.rsample((4000,))
        expected = module.decode(z).log_prob(x).mean(0) - kl_divergence(posterior, prior)
    torch.testing.assert_close(elbo, expected, atol=0.3, rtol=0)
    assert (module.log_marginal(x, 4000) >= elbo - 0.05).all()


def test_run_can_be_moved(run_train, tmp_path):
    folder, _ = run_train(*TINY)
    before = aevb.load_run(folder.path).state_dict()
    moved = tmp_path / "elsewhere" / "kept"
    moved.parent.mkdir()
    shutil.move(folder.path, moved)
    for name, value in aevb.load_run(moved).state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_prints_the_command_to_resume(interrupt, tmp_path, number):
    folder = RunFolder(tmp_path / "run")
    process = interrupt(number, "max_samples=10000000", "logger=none", folder=folder.path)
    assert process.returncode == 128 + number, process.stderr
    status = folder.status()
    assert status["state"] == "interrupted"
    assert status["samples"] == folder.load_checkpoint("last")[1]["samples"] > 0
    last_line = process.stderr.strip().splitlines()[-1]
    assert last_line.startswith(f"interrupted by {number.name} at")
    assert last_line.endswith("continue with: python train.py resume=run")
    assert "Traceback" not in process.stderr


def test_non_finite_loss_fails_the_run(run_train):
    with pytest.raises(Stopped, match=r"the loss became (nan|inf)") as stopped:
        run_train(*TINY, "optimizer=adam", "optimizer.lr=1e30", "callbacks.checkpoint.every_samples=1")
    assert stopped.value.exit_code == 1
    assert "at " in str(stopped.value)


def test_failed_run_keeps_its_last_good_checkpoint(run_train):
    folder, _ = run_train(*TINY)
    path, checkpoint = folder.load_checkpoint("last")
    for state in checkpoint["optimizer_states"][0]["state"].values():
        state["exp_avg_sq"].fill_(-1.0)  # Adam takes its root
    torch.save(checkpoint, path)
    before = weights(folder)

    with pytest.raises(Stopped, match=r"the loss became nan at .* samples; .*; the last good state is "):
        run_train(f"resume={folder.path}", "max_samples=8000", folder=folder.path)
    assert folder.status()["state"] == "failed"
    assert "the loss became nan" in folder.status()["error"]
    for name, value in weights(folder).items():
        assert torch.equal(value, before[name])


def test_folder_is_used_once(run_train):
    folder, _ = run_train(*TINY)
    before = folder.config_file.read_bytes()
    with pytest.raises(ConfigError, match="already contains a run; name another folder, or continue it with resume="):
        run_train(*TINY, "seed=1", folder=folder.path)
    assert folder.config_file.read_bytes() == before
    assert folder.status()["state"] == "finished"


BAD_VALUES = {
    "model.latent_dim=0": "model.latent_dim must be a whole number from 1 to 10,000,000, got 0",
    "data.batch_size=2000": "data.batch_size must be at most 1397",
    "data.train_size=5000": "data.train_size must be",
    "data.shape=[1,9,9]": "data.shape",
    "metric=val/elb": "metric must be one of",
    "trainer.devices=3": "data.batch_size must be a multiple of 3, the number of processes",
    "trainer.num_nodes=2": "trainer.num_nodes must be 1 unless torchrun or srun starts the processes, got 2",
}
"""Of the types of settings one: tests/test_settings.py has the others."""


@pytest.mark.parametrize("override", BAD_VALUES)
def test_bad_value_stops_before_training(run_train, tmp_path, override):
    with pytest.raises(ConfigError) as error:
        run_train(*TINY, override)
    message = str(error.value)
    assert message.startswith(BAD_VALUES[override])
    assert "\n" not in message
    folder = RunFolder(tmp_path / "run")
    assert not folder.last_checkpoint.exists()
    assert folder.status()["state"] == "failed"


def test_each_run_has_its_precision(run_train, tmp_path):
    for precision in ("medium", "highest"):
        run_train(*TINY, f"matmul_precision={precision}", folder=tmp_path / precision)
        assert torch.get_float32_matmul_precision() == precision


def test_bernoulli_refuses_values_outside_the_unit_interval(run_train, tmp_path):
    import numpy as np

    np.save(tmp_path / "wide.npy", np.random.default_rng(0).normal(size=(300, 6, 5)).astype("float32"))
    with pytest.raises(ConfigError, match=r"likelihood Bernoulli needs data in \[0, 1\], got .* from -"):
        run_train(*TINY, "data=array", f"data.path={tmp_path / 'wide.npy'}")


def test_own_array_of_any_shape_trains(run_train, tmp_path):
    import numpy as np

    np.save(tmp_path / "own.npy", np.random.default_rng(0).integers(0, 256, size=(300, 3, 7, 4), dtype=np.uint8))
    folder, _ = run_train(
        *TINY, "model=gaussian", "data=array", f"data.path={tmp_path / 'own.npy'}", "data.channels_last=false"
    )
    (tmp_path / "own.npy").unlink()
    assert folder.config().data.shape == [3, 7, 4]
    assert aevb.load_run(folder.path).sample(2).shape == (2, 3, 7, 4)


def test_error_is_one_line_and_an_exit_code(command, tmp_path):
    process = command("data.batch_size=2000", "logger=none", "hydra.run.dir=run")
    assert process.returncode == 2
    assert process.stderr.strip().splitlines()[-1].startswith("error: data.batch_size must be at most 1397")
    assert process.stdout.count("batch_size") + process.stderr.count("batch_size") == 1
    assert "Traceback" not in process.stderr + process.stdout
    assert "data.batch_size must be" in (tmp_path / "run" / "train.log").read_text()


def test_unexpected_error_is_recorded_with_its_traceback(run_train, tmp_path, monkeypatch):
    def broken(self, *arguments):
        raise RuntimeError("a bug\nand more of it")

    monkeypatch.setattr(aevb.training.module.AEVB, "training_step", broken)
    with pytest.raises(Stopped, match=r"^error: a bug$") as stopped:
        run_train(*TINY)
    assert stopped.value.exit_code == 1
    status = RunFolder(tmp_path / "run").status()
    assert (status["state"], status["error"]) == ("failed", "a bug")


def test_ctrl_c_outside_training_is_an_interruption(run_train, tmp_path, monkeypatch):
    def interrupted(self, *arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(aevb.training.module.AEVB, "test_step", interrupted)
    with pytest.raises(Stopped, match="interrupted; continue with") as stopped:
        run_train(*TINY)
    assert stopped.value.exit_code == 130
    assert RunFolder(tmp_path / "run").status()["state"] == "interrupted"


def test_folder_removed_while_training_fails_the_run(run_train, tmp_path, monkeypatch):
    def remove(self):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)

    monkeypatch.setattr(aevb.training.module.AEVB, "on_validation_start", remove)
    with pytest.raises(Stopped, match=r"^error: .*run.*: ") as stopped:
        run_train(*TINY)
    assert stopped.value.exit_code == 1
    assert not (tmp_path / "run").exists()


def test_file_that_cannot_be_written_fails_the_run_in_one_line(run_train, tmp_path, capfd):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(Stopped, match=r"^error: .*ckpt: File too large$"):
            run_train(*TINY, "model.encoder.hidden=[500]", "callbacks.images=null")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    folder = RunFolder(tmp_path / "run")
    assert folder.status()["state"] == "failed"
    assert folder.status()["error"].endswith("ckpt: File too large")
    assert "Traceback" not in "".join(capfd.readouterr())
    assert list(folder.path.rglob("*.tmp")) == []


def test_files_of_dead_processes_are_removed(run_train, tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    left = tmp_path / "run" / "checkpoints" / f".last.ckpt.{machine()}-{dead.pid}-0123abcd.tmp"
    living = tmp_path / "run" / f".status.json.{machine()}-{os.getppid()}-0123abcd.tmp"
    left.touch()
    living.touch()
    run_train(*TINY)
    assert not left.exists()
    assert living.exists()


@pytest.mark.parametrize("path", ["/proc/run", "/dev/null/run", "/tmp/" + "x" * 300])
def test_folder_that_cannot_be_used_is_named_with_the_cause(run_train, path):
    with pytest.raises(ConfigError, match=r"^hydra\.run\.dir: .* cannot be used: [A-Z]"):
        run_train(*TINY, folder=Path(path))


def interrupted(*arguments):
    raise KeyboardInterrupt


def test_train_log_has_the_output_of_the_terminal(run_train, tmp_path, capsys):
    folder, _ = run_train(*TINY)
    with pytest.raises(ConfigError):
        run_train(f"resume={folder.path}", "seed=1")
    said = [line for line in capsys.readouterr().out.splitlines() if line]
    assert any("finished after 2,000 samples" in line for line in said)
    text = (folder.path / "train.log").read_text().splitlines()
    assert [line for line in text if line in said] == said
    assert text[0].endswith(f"train.py {' '.join(TINY)}")
    assert text[-1].startswith("error: seed: a resumed run keeps its own")


@pytest.mark.skipif("AEVB_DATA_DIR" not in __import__("os").environ, reason="AEVB_DATA_DIR is not set")
@pytest.mark.parametrize(("model", "data"), [("gaussian", "freyface"), ("bernoulli", "mnist")])
def test_the_papers_data_train(run_train, model, data):
    folder, metric = run_train(f"model={model}", f"data={data}", *TINY, "callbacks.images.num_samples=9")
    assert metric is not None
    assert folder.status()["state"] == "finished"


def test_folders_of_runs_started_in_one_second_differ(tmp_path):
    from aevb.config import unique_folder

    path = str(tmp_path / "date" / "time-digits-bernoulli")
    first = unique_folder(path)
    assert unique_folder(path) == first
    unique_folder.cache_clear()  # as another process
    assert unique_folder(path) == f"{path}-2"


def test_runs_can_share_a_parent(run_train, tmp_path):
    for seed in (0, 1):
        run_train(*TINY, f"seed={seed}", folder=tmp_path / f"seed={seed}")
    a, b = (weights(RunFolder(Path(tmp_path / f"seed={seed}"))) for seed in (0, 1))
    assert any(not torch.equal(a[name], b[name]) for name in a)


DENSE = ("model.latent_dims=[4,2]", "model.prior.hidden=[16]", "hidden=[16]")
MAPS = ("model.prior.latent_channels=[1,2]", "model.prior.halvings=[2,3]", "model.prior.width=4")


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        *((f"model={name}", DENSE) for name in ("hierarchical", "ladder", "top_down")),
        *((f"model={name}", MAPS) for name in ("top_down_conv", "ladder_conv")),
    ],
)
def test_models_of_several_layers_train_and_load(run_train, model, settings):
    folder, _ = run_train(model, *settings, "max_samples=400", "logger=none", "callbacks.progress=null")
    results = folder.status()["results"]
    assert results["test/kl_1"] + results["test/kl_2"] == pytest.approx(results["test/kl"], abs=1e-4)
    assert folder.config().model.latent_dim == 6
    vae = aevb.load_run(folder.path)
    assert vae.elbo(vae.sample(3)).shape == (3,)


@pytest.mark.slow
def test_early_stopping_is_resumed_exactly(run_train, tmp_path):
    settings = [
        "callbacks=early_stopping", "callbacks.early_stopping.patience=3", "callbacks.early_stopping.min_delta=0.5",
        "callbacks.images=null", "logger=none", "trainer.check_val_every_n_epoch=1", "model.encoder.hidden=[16]",
    ]  # fmt: skip
    whole, _ = run_train(*settings, "max_samples=100000", folder=tmp_path / "whole")
    end = whole.status()["samples"]
    assert (whole.status()["ended_by"], end < 100_000) == ("EarlyStopping", True)
    part, _ = run_train(*settings, f"max_samples={end - 1900}", folder=tmp_path / "part")
    assert part.status()["ended_by"] == "max_samples"
    run_train(f"resume={part.path}", "max_samples=100000", folder=part.path)
    assert (part.status()["ended_by"], part.status()["samples"]) == ("EarlyStopping", end)
    assert all(torch.equal(value, weights(part)[name]) for name, value in weights(whole).items())


def test_convolutional_layers_resume_to_the_bit(run_train, tmp_path):
    settings = ("model=top_down_conv", *MAPS, "logger=none", "callbacks.images=null", "callbacks.progress=null")
    whole, _ = run_train(*settings, "max_samples=800", folder=tmp_path / "whole")
    part, _ = run_train(*settings, "max_samples=400", folder=tmp_path / "part")
    resumed, _ = run_train(f"resume={part.path}", "max_samples=800", folder=part.path)
    for name, weight in weights(whole).items():
        assert torch.equal(weight, weights(resumed)[name]), name


BAD_LAYERS = {
    "model=ladder model.latent_dims=[50,0]": "model.latent_dims must be the sizes of one or more layers",
    "model=ladder model.latent_dims=[]": "model.latent_dims must be the sizes of one or more layers",
    "model=ladder model.latent_dims=[50,20] model.latent_dim=60": "latent_dims must add up to latent_dim, 60",
    "model=top_down_conv model.latent_dim=9": "latent_dims must add up to latent_dim, 9, got [16, 8, 8]",
    "model=top_down_conv model.prior.halvings=[1,2]": "latent_channels and halvings must have one entry for each layer",
    "model=top_down_conv model.prior.halvings=[1,2,4]": "be 0 to 3 for images of 8x8, got [1, 2, 4]",
    "model=top_down_conv model.encoder.width=8": "use model/encoder=pyramid",
    "model=hierarchical model/prior@model.prior.top=vamp": "has no closed form for BottomUp",
}


@pytest.mark.parametrize("overrides", BAD_LAYERS)
def test_layers_that_do_not_fit_are_refused_in_one_line(run_train, overrides):
    with pytest.raises(ConfigError) as caught:
        run_train(*overrides.split(), "logger=none", "max_samples=100")
    assert BAD_LAYERS[overrides] in str(caught.value)
    assert "\n" not in str(caught.value)
