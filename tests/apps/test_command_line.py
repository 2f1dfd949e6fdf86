"""An invalid command is one line and exit code 2, before Hydra creates a folder."""

import sys
from pathlib import Path

import pytest
from hydra._internal.utils import get_args_parser

from aevb.apps import command_line
from aevb.apps.command_line import check_command, check_command_line, quoted
from aevb.errors import ConfigError

CONF = Path(__file__).parents[2] / "conf"


def check(program: str, *arguments: str) -> None:
    check_command(program, CONF, get_args_parser().parse_args(list(arguments)))


REFUSED = {
    "model=gausian": "model: there is no 'gausian'; did you mean gaussian?",
    "model=null": "model: there is no null; it may be bernoulli, beta",
    "model/prior=vamb": "model/prior: there is no 'vamb'; did you mean vamp?",
    "step_size_search.samples=9": "step_size_search is no longer a setting; use learning_rate_search",
    "modl=gaussian": "modl is not a setting of train.py; did you mean model?",
    "model/priorr=vamp": "model/priorr is not a setting of train.py; did you mean model/prior?",
    "optimizer.lrr=1": "optimizer.lrr is not a setting of train.py; did you mean optimizer.lr?",
    "latent_dim=2": "latent_dim is not a setting of train.py; did you mean model.latent_dim?",
    "~optimizer": "optimizer must be given, but is not in the configuration; choose one by optimizer=<name>",
    "~optimiser": "optimiser is not a setting of train.py; did you mean optimizer?",
    "optimizer.weight_decay=0.1": "optimizer.weight_decay has its default and is not in the configuration; add it with "
    "+optimizer.weight_decay=0.1",
    "+seed=1": "seed is already in the configuration; write seed=1",
    "task=probe": "task is a setting of evaluate.py, not of train.py",
    "+task=probe": "task is a setting of evaluate.py, not of train.py",
    "seed": "seed: an argument has the form key=value",
    "model.encoder.hidden=[200": "model.encoder.hidden: the value cannot be parsed: [200",
    "model.latent_dim=2,3": "model.latent_dim: model.latent_dim=2,3 gives several values; add -m",
    "resume=nowhere": "resume: nowhere is not a run folder: it has no .hydra/config.yaml",
    "hydra.run.dir=": "hydra.run.dir must name a folder, got ''",
    "hydra.run.dir='a\\${b'": "hydra.run.dir: the name of a run folder cannot contain ${, got 'a${b'",
    "hydra.run.dir=${nothing}": "hydra.run.dir: Interpolation key 'nothing' not found",
    "sweep.name='a${b'": "sweep.name: invalid interpolation: sweep.name='a${b'; for the characters ${",
    "-m seed=1,2 sweep.name='a\\${b'": "sweep.name: the name of a sweep cannot contain ${, got 'a${b'",
    "metric='${'": "metric: invalid interpolation: metric='${'",
    "-m seed=1,2,-3": "seed must be a whole number from 0 to 4,294,967,295, got -3",
    "-m seed=1,2 model=gaussian,gausian": "model: there is no 'gausian'",
    f"-m model={'bernoulli,' * 50}gausian": "model: there is no 'gausian'; did you mean gaussian?",
    "sweep=figure5 sweep.name=[1]": "sweep.name must be a text",
    "hydra.run.dir=/proc/new/run": "hydra.run.dir: /proc/new/run cannot be written: ",
    "hydra.run.dir=/dev/null/run": "hydra.run.dir: /dev/null/run cannot be written: Not a directory",
    "-m seed=1,2 hydra.sweep.dir=/dev/null/s": "hydra.sweep.dir: /dev/null/s cannot be written: Not a directory",
    f"hydra.run.dir={'x' * 300}": f"hydra.run.dir: {'x' * 300} cannot be written: File name too long",
}


@pytest.mark.parametrize("command", REFUSED)
def test_invalid_command_is_one_line(command):
    with pytest.raises(ConfigError) as error:
        check("train", *command.split())
    assert str(error.value).startswith(REFUSED[command])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "command",
    ["hydra.run.dir=new/run", "sweep=figure3", "sweep=learning_rate", "-m seed=1,2 model=glob(g*)", "--help"],
)
def test_valid_command_passes_and_creates_nothing(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check("train", *command.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("resume=runs/a=1,b=2", "resume='runs/a=1,b=2'"),
        ("run=runs/plain", "run=runs/plain"),
        ("run=2013", "run='2013'"),
        ("run=it's", r"run='it\'s'"),
        ("run=it's\\", "run='it\\'s\\\\'"),
        ("runs=[a,b]", "runs=[a,b]"),
        ("runs='a=1'", "runs='a=1'"),
        ("seed=1,2", "seed=1,2"),
        ("resume=null", "resume=null"),
        ("hydra.run.dir=a${b", r"hydra.run.dir='a\${b'"),
        ("hydra.run.dir=${seed}", "hydra.run.dir=${seed}"),
    ],
)
def test_paths_are_quoted_where_hydra_would_parse_them_as_something_else(argument, expected):
    assert quoted(argument, is_sweep=False) == expected


@pytest.mark.parametrize("key", ["hydra.run.dir", "resume", "run", "paths.data", "output"])
def test_the_home_folder_is_no_folder_named_by_a_tilde(key, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert quoted(f"{key}=~/a=1", is_sweep=False) == f"{key}='/home/me/a=1'"
    assert quoted(f"{key}=~/a", is_sweep=False) == f"{key}=/home/me/a"


@pytest.mark.parametrize(
    "name", ["a=1,b=2", "it's", 'say "hi"', "back\\", "a\\'b", "a${b}", "${seed}", "a b", "[x]", "7"]
)
def test_a_run_folder_of_any_name_can_be_evaluated(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    with command_line.initialize_config_dir(str(CONF), version_base="1.3"):
        config = command_line.compose("evaluate", [quoted(f"run={name}", is_sweep=False)])
    assert config.run == name


def test_a_deleted_working_directory_is_one_line(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SystemExit) as stop:
        check_command_line("report", CONF)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: the working directory was deleted; change to another\n"


def test_new_place_of_a_file_makes_its_key_known(tmp_path, monkeypatch):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").touch()
    monkeypatch.setattr(sys, "argv", ["train.py", f"resume={tmp_path}", "data.path=moved.npy"])
    check_command_line("train", CONF)
    assert sys.argv[1:] == ["data=array", f"resume={tmp_path}", "data.path=moved.npy"]


def test_unknown_flag_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", "--hepl"])
    with pytest.raises(SystemExit) as stop:
        check_command_line("train", CONF)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: unrecognized arguments: --hepl; --help lists the settings\n"


@pytest.mark.parametrize(
    ("argument", "extra"),
    {
        "data=documents": "documents",
        "hydra/launcher=joblib": "joblib",
        "logger=mlflow": "mlflow",
        "logger=tensorboard": "tensorboard",
        "sweep=learning_rate": "optuna",
        "task=compress": "compress",
    }.items(),
)
def test_missing_package_is_named_with_its_extra(monkeypatch, argument, extra):
    monkeypatch.setattr(command_line, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as error:
        check("train", argument)
    assert str(error.value) == f"{argument} is an extra; install it with: pip install 'aevb[{extra}]'"


def test_help_lists_the_groups_of_the_program_alone(command):
    groups = {
        program: {line.split(":")[0].strip() for line in command("--help", program=program).stdout.splitlines()}
        for program in ("train.py", "evaluate.py")
    }
    assert {"model", "model/encoder", "objective", "data"} < groups["train.py"]
    assert not {"task", "estimators", "mask", "hydra/launcher"} & groups["train.py"]
    assert {"task", "estimators", "mask"} < groups["evaluate.py"]
    assert "model" not in groups["evaluate.py"]
