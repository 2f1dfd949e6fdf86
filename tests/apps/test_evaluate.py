"""`evaluate.py`: what it writes and prints, over runs and sweeps, and how it refuses."""

import errno
import json
import re
import shlex
import shutil
from pathlib import Path
from statistics import fmean, stdev

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from aevb.apps.evaluate import evaluate
from aevb.apps.train import train
from aevb.config import instantiate
from aevb.errors import ConfigError, Stopped
from aevb.estimators import ImportanceSampling
from aevb.reports.reading import read
from aevb.runs.folder import RunFolder
from aevb.runs.load import load_run

from ..small import PAPER

CONF = str(Path(__file__).parents[2] / "conf")


def make_run(folder: Path, *overrides: str) -> RunFolder:
    settings = ["max_samples=4000", "model.encoder.hidden=[16]", "logger=none", "callbacks.images=null", *overrides]
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("train", settings, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    config.paths.run = str(folder)
    train(config)
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None
    return RunFolder(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("trained") / "run", *PAPER)


@pytest.fixture
def folder(trained, tmp_path) -> RunFolder:
    """A run folder of this test's own."""
    return RunFolder(shutil.copytree(trained.path, tmp_path / "run"))


def call(*overrides: str) -> None:
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("evaluate", [*overrides])
    evaluate(config)


def results(folder: RunFolder, kind: str = "entries") -> list[dict]:
    return json.loads((folder.path / "evaluation.json").read_text())[kind]


def test_unwritable_folder_is_reported_before_any_computation(folder, monkeypatch):
    def refuse(**arguments):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("aevb.files.tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("aevb.apps.evaluate.load_members", lambda *arguments: pytest.fail("it computes"))
    with pytest.raises(ConfigError, match=f"^run: {folder.path} cannot be written: Read-only file system$"):
        call(f"run={folder.path}")


def test_members_are_evaluated_in_one_pass(tmp_path, capsys):
    folder = make_run(tmp_path / "run", "seeds=3", "max_samples=500")
    call(f"run={folder.path}", "limit=30", "estimators=[elbo]")
    (entry,) = results(folder)
    found = [load_run(folder.path, member=member) for member in range(3)]
    assert entry["value"] == pytest.approx(fmean(entry["members"]))
    assert entry["member_standard_error"] == pytest.approx(stdev(entry["members"]) / 3**0.5)
    assert len({float(next(vae.parameters()).detach().sum()) for vae in found}) == len(set(entry["members"])) == 3
    assert "± seeds" in capsys.readouterr().out
    assert not (folder.path / "evaluation").exists()
    call(f"run={folder.path}", "limit=30", "task=latents")
    (entry,) = results(folder, "tasks")
    assert {"active_units", "active_units_se"} <= entry["results"].keys()


def test_standard_error_of_members_is_that_of_repeated_evaluations(tmp_path):
    folder = make_run(tmp_path / "run", "seeds=4", "max_samples=500")
    state = torch.load(folder.last_checkpoint, weights_only=True)
    for name in [name for name in state["state_dict"] if name.startswith("others.")]:  # four times the same model
        state["state_dict"][name] = state["state_dict"][name.split(".", 2)[2]]
    torch.save(state, folder.last_checkpoint)
    entries = []
    for seed in range(0, 48, 4):
        settings = "checkpoint=last", "limit=20", "estimators=[importance_sampling]", f"seed={seed}"
        call(f"run={folder.path}", *settings, "estimators.importance_sampling.num_samples=5")
        entries += results(folder)
    spread = stdev([entry["value"] for entry in entries])
    assert spread == pytest.approx(fmean([entry["standard_error"] for entry in entries]), rel=0.45)
    assert spread == pytest.approx(fmean([entry["member_standard_error"] for entry in entries]), rel=0.45)


def test_one_member_is_evaluated_alone(tmp_path, capsys):
    folder = make_run(tmp_path / "run", "seeds=3", "max_samples=500")
    for member in ("null", "1", "2"):
        call(f"run={folder.path}", "limit=30", "estimators=[elbo]", f"member={member}")
    of_all, *alone = results(folder)
    assert [entry["member"] for entry in alone] == [1, 2]
    assert [entry["value"] for entry in alone] == of_all["members"][1:]
    assert "members" not in alone[0]
    assert f"{folder.path}, member 2" in capsys.readouterr().out
    assert read(folder.path).evaluation == [of_all]
    with pytest.raises(ConfigError, match=f"^member must be from 0 to 2, the members of {folder.path}, got 3$"):
        call(f"run={folder.path}", "limit=30", "member=3")
    call(f"run={folder.path}", "limit=30", "task=fit_prior", "task.num_steps=20", "member=1")
    (entry,) = results(folder, "tasks")
    assert entry["member"] == 1
    derived = next((folder.path / "fit_prior").iterdir())
    assert derived.name.endswith("_member_1")
    encoder = load_run(folder.path, member=1).q.state_dict()
    assert all(torch.equal(weight, encoder[name]) for name, weight in load_run(derived).q.state_dict().items())
    assert read(derived).seed == 1


def test_a_run_of_one_seed_has_no_members(folder):
    with pytest.raises(ConfigError, match=f"^member: {folder.path} is a run of one seed and has no members; drop it$"):
        call(f"run={folder.path}", "limit=30", "member=0")


def test_entries_and_table(folder, capsys):
    call(f"run={folder.path}", "limit=30", "estimators.importance_sampling.num_samples=50")
    elbo, sampled = results(folder)
    assert (elbo["estimator"], sampled["estimator"]) == ("elbo", "importance_sampling")
    assert sampled["settings"] == {"num_samples": 50}
    assert (sampled["split"], sampled["limit"], sampled["datapoints"]) == ("test", 30, 30)
    assert sampled["samples"] == 4000
    assert elbo["value"] < sampled["value"] < 0
    assert 0 < sampled["standard_error"] < sampled["data_standard_error"]
    assert 1 < sampled["diagnostics"]["effective_sample_size"] < 50
    assert "bits_per_dim" not in sampled
    printed = capsys.readouterr().out
    assert f"{sampled['value']:.3f}" in printed
    assert "importance_sampling" in printed
    assert not (folder.path / "evaluation").exists()


def test_values_are_those_of_the_loaded_model(folder):
    call(f"run={folder.path}", "estimators=elbo", "estimators.elbo.num_samples=200", "split=val")
    (entry,) = results(folder)
    assert entry["limit"] is None
    assert entry["datapoints"] == 200
    from aevb.data import Digits

    data = Digits()
    data.setup()
    x, *_ = data.examples("val", 200)
    expected = load_run(folder.path).elbo(x, 200)
    assert entry["value"] == pytest.approx(float(expected.mean()), abs=8 * entry["standard_error"])


def test_repeated_evaluation_replaces_its_entry(folder):
    for overrides in (["limit=10"], ["limit=10", "seed=1"], ["limit=20"], ["limit=10", "checkpoint=last"]):
        call(f"run={folder.path}", "estimators=[elbo]", *overrides)
    assert [(entry["limit"], entry["checkpoint"]) for entry in results(folder)] == [(20, "best"), (10, "last")]


def test_bits_per_dimension_of_a_discrete_likelihood(tmp_path):
    folder = make_run(tmp_path / "run", "model=categorical", "model.likelihood.levels=2", "data.binarization=threshold")
    call(f"run={folder.path}", "limit=5", "estimators=[elbo]", "estimators.elbo.num_samples=2")
    (entry,) = results(folder)
    assert entry["bits_per_dim"] == pytest.approx(-entry["value"] / (64 * torch.tensor(2.0).log().item()))


def test_every_run_of_a_sweep(trained, tmp_path, capsys, caplog):
    for name in ("seed=0,data=digits", "seed=1,data=digits", "unfinished"):
        shutil.copytree(trained.path, tmp_path / "sweep" / name)
    shutil.rmtree(tmp_path / "sweep" / "unfinished" / "checkpoints")
    (shutil.copytree(trained.path, tmp_path / "sweep" / "damaged") / "checkpoints" / "best.ckpt").write_bytes(b"")
    caplog.set_level("WARNING", "aevb")
    call(f"run={tmp_path / 'sweep'}", "limit=10", "estimators=[elbo]")
    assert all(len(results(RunFolder(path))) == 1 for path in (tmp_path / "sweep").glob("seed*"))
    assert "unfinished has no checkpoints/best.ckpt" in caplog.text
    assert "best.ckpt is damaged" in caplog.text
    assert "seed=1,data=digits" in capsys.readouterr().out


def test_interrupted_evaluation_continues(folder, monkeypatch):
    estimate, calls = ImportanceSampling.estimate, []

    def interrupted(self, model, x, rows):
        calls.append(len(x))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return estimate(self, model, x, rows)

    command = [f"run={folder.path}", "limit=40", "estimators=[importance_sampling]", "max_batch_values=600000"]
    monkeypatch.setattr(ImportanceSampling, "estimate", interrupted)
    with pytest.raises(Stopped, match="interrupted; the same command continues") as stopped:
        call(*command)
    assert stopped.value.exit_code == 130
    assert len(list((folder.path / "evaluation").iterdir())) == 1
    assert not (folder.path / "evaluation.json").exists()
    call(*command)
    (entry,) = results(folder)
    assert sum(calls) == 40 + calls[2]
    assert not (folder.path / "evaluation").exists()
    call(*command)
    assert results(folder)[0]["value"] == entry["value"]


RESTORING = ("inpaint", "super_resolution", "denoise")


@pytest.mark.parametrize(
    "task", ["latents", "probe", "traversal", "explorer", "interpolation", "inpaint", "super_resolution", "denoise"]
)
def test_tasks(folder, capsys, task):
    few = ["task.num_chains=2", "task.burn_in=2", "task.num_steps=2"] if task in RESTORING else []
    of_training = [
        folder.images / f"000004000_{what}.png" for what in ("samples", "reconstructions", "manifold", "latents")
    ]
    folder.images.mkdir(exist_ok=True)
    for picture in of_training:
        picture.write_text("training's")
    call(f"run={folder.path}", "limit=50", f"task={task}", *few)
    assert all(picture.read_text() == "training's" for picture in of_training)
    (entry,) = results(folder, "tasks")
    assert (entry["task"], entry["limit"], entry["datapoints"], entry["samples"]) == (task, 50, 50, 4000)
    assert entry["settings"]
    assert all((folder.path / picture).is_file() for picture in entry["pictures"])
    assert (task == "probe") == (entry["pictures"] == [])
    assert f"{task}, 50 of test" in capsys.readouterr().out
    assert results(folder) == []


def test_the_file_of_compression_is_decoded_by_the_loaded_model(tmp_path):
    pytest.importorskip("constriction")
    from aevb.tasks.compress import decompress

    folder = make_run(tmp_path / "run", *PAPER, "data.binarization=threshold")
    call(f"run={folder.path}", "limit=5", "task=compress")
    (entry,) = results(folder, "tasks")
    picture, file = entry["pictures"]
    assert picture.endswith("_compress_bits.png")
    content = (folder.path / file).read_bytes()
    assert entry["results"]["bytes"] == len(content)
    assert decompress(load_run(folder.path), content).shape == (5, 1, 8, 8)


@pytest.mark.parametrize("mask", sorted(path.stem for path in (Path(CONF) / "mask").glob("*.yaml")))
def test_masks(folder, mask):
    few = ["task.num_chains=1", "task.burn_in=0", "task.num_steps=1"]
    call(f"run={folder.path}", "limit=2", "task=inpaint", f"mask={mask}", *few)
    (entry,) = results(folder, "tasks")
    assert entry["settings"]["mask"].startswith(("Half", "Centre", "RandomPixels"))


BAD = {
    "split=tset": "split must be one of train, val, test, got 'tset'",
    "task=latents limit=1": "limit must be at least 2 for task=latents",
    "estimators=[particle_filter]": "a particle filter needs a model of sequences",
    "estimators=[enumeration]": "estimators=[enumeration] needs discrete latent variables",
}


@pytest.mark.parametrize("override", BAD)
def test_bad_settings_are_one_line(folder, override):
    with pytest.raises(ConfigError) as error:
        call(f"run={folder.path}", *override.split())
    assert str(error.value).startswith(BAD[override])
    assert "\n" not in str(error.value)
    assert not (folder.path / "evaluation.json").exists()


def test_no_run(tmp_path):
    with pytest.raises(ConfigError, match=r"^run must be given: run="):
        call()
    with pytest.raises(ConfigError, match=r"^run: .*nothing is not a run folder"):
        call(f"run={tmp_path / 'nothing'}")


def test_run_that_names_foreign_code_is_refused(folder):
    config = folder.config()
    config.data._target_ = "os.system"
    folder.write_config(config)
    with pytest.raises(ConfigError, match=r"names os.system, which is not on the list"):
        call(f"run={folder.path}")


def test_missing_data_are_one_line(folder, tmp_path):
    config = folder.config()
    config.data = {**config.data, "_target_": "aevb.data.Array", "path": "gone.npy"}
    folder.write_config(config)
    with pytest.raises(ConfigError, match=r"gone.npy") as error:
        call(f"run={folder.path}")
    assert "\n" not in str(error.value)


def test_the_program_itself(command, trained, tmp_path):
    target = shutil.copytree(trained.path, tmp_path / "a=1,b=2")
    process = command(f"run={target}", "limit=5", "estimators=[elbo]", program="evaluate.py")
    assert process.returncode == 0, process.stderr
    assert "elbo" in process.stdout
    assert len(results(RunFolder(target))) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a=1,b=2"]


ROOT = Path(CONF).parent
PAGES = [ROOT / "docs" / name for name in ("evaluation.md", "inference_tasks.md")]
COMMANDS = [
    [word for word in shlex.split(line, comments=True) if not word.startswith("run=")]
    for page in PAGES
    for line in re.findall(r"^ *python evaluate\.py (.*)", page.read_text().replace("\\\n", " "), re.MULTILINE)
]


@pytest.mark.parametrize("overrides", COMMANDS, ids=" ".join)
def test_commands_of_the_docs_compose(overrides):
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("evaluate", ["run=somewhere", *overrides])
    for node in [config.task] if config.get("task") else config.estimators.values():
        instantiate(node)


def test_every_option_is_documented():
    text = "".join(page.read_text() for page in PAGES)
    for group in ("estimators", "task", "mask"):
        for path in (Path(CONF) / group).glob("*.yaml"):
            assert f"`{path.stem}`" in text, path


def test_python_of_the_docs_runs(folder, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGES[0].read_text(), re.DOTALL)
    names: dict[str, object] = {"x": torch.rand(3, 1, 8, 8)}
    exec(code.replace("outputs/<run>", str(folder.path)).replace("5000", "50"), names)
    value, error = map(float, capsys.readouterr().out.split())
    assert value < 0 < error
