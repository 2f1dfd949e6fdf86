"""Bad settings, made from the configurations' own keys and values: each is one line and exit code 2."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, ListConfig, OmegaConf

from aevb.apps.command_line import check_command
from aevb.errors import ConfigError
from aevb.settings import validate

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"

WRONG: dict[type, list[Any]] = {
    bool: ["maybe", 3, None, [True]],
    int: ["abc", -7, 2.5, True, [1], {"a": 1}, 10**400],
    float: ["abc", -7.5, float("nan"), float("inf"), True, [1.0], {"a": 1}],
    str: [["a"], {"a": 1}, True],
    list: ["abc", 3, [None], {"a": 1}, [{"a": 1}]],
}
"""What a value of a type cannot become: another type, or out of every range."""

GROUPS = {
    "train": ["model", "model/encoder", "model/posterior", "model/prior", "objective", "optimizer", "schedule", "data",
              "callbacks", "logger"],
    "evaluate": ["estimators", "mask", "task"],
    "report": [],
}  # fmt: skip

MEANT = [
    ("callbacks.checkpoint.every_seconds", 2.5),
    ("model.likelihood.degrees_of_freedom", 2.5),
    ("model.likelihood.dispersion", 2.5),
    ("model.prior.loc", -7.5),
    ("runs", ["a"]),
    ("trainer.devices", [1]),
    ("sweep.first_trials", [{"a": 1}]),
    ("optimizer.fused", None),
    ("optimizer.lr", [1.0]),  # of one seed
    ("metrics", "abc"),
]
"""Values of these kinds that are valid for a key."""


def composed(program: str, *overrides: str) -> DictConfig:
    GlobalHydra.instance().clear()
    given = {"evaluate": ["run=x"], "report": ["runs=x"], "train": []}[program]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(program, [*given, *overrides])
    if program == "train":
        config.paths.run = "run"
        if OmegaConf.is_missing(config.data, "path"):
            config.data.path = __file__
    return config


def leaves(config: DictConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys and the values written there; what is taken from elsewhere, and what a class's name says, is left out."""
    for name in map(str, config):
        child = config._get_node(name)
        if name == "_target_" or child._is_interpolation() or child._is_missing():
            continue
        if isinstance(child, DictConfig) and not child._is_none():
            yield from leaves(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", OmegaConf.to_container(child) if isinstance(child, ListConfig) else child._value()


NEEDED = {"model/prior=conditional_gaussian": "model=conditional"}
"""What an option needs beside it."""

CHOICES = [("train", ""), ("evaluate", ""), ("report", "")] + [
    (program, f"{group}=[{file.stem}]" if group == "estimators" else f"{group}={file.stem}")
    for program, groups in GROUPS.items()
    for group in groups
    for file in sorted((CONF / group).glob("*.yaml"))
]
"""Programs, and the options that bring keys of their own."""


def cases(config: DictConfig) -> list[tuple[str, Any]]:
    """Keys of a configuration, and bad values for them."""
    found = [(key, bad) for key, value in leaves(config) for bad in WRONG.get(type(value), [])]
    return [case for case in found if case not in MEANT and not (case[0].endswith("bounded") and case[1] is True)]


def test_each_invalid_value_is_one_line_that_starts_with_its_key(sample):
    configs = {
        (program, choice): composed(program, *filter(None, [NEEDED.get(choice), choice]))
        for program, choice in sample(CHOICES, 12)
    }
    configs[("train", "")] = composed("train")
    found = {}
    for (program, choice), config in configs.items():
        for key, bad in cases(config):
            of = OmegaConf.select(config, f"{key.rpartition('.')[0]}._target_", default=program)
            found[of, key, repr(bad)] = program, choice, key, bad
    assert len(found) > 200
    wrong = []
    for program, choice, key, bad in sample([*found.values()], 200):
        config = configs[program, choice].copy()
        OmegaConf.update(config, key, bad, merge=False, force_add=True)
        try:
            validate(config, program)
        except ConfigError as error:
            message = str(error)
            if not message.startswith(key) or "\n" in message or len(message) > 500:
                wrong.append(f"{program} {choice} {key}={bad!r}: {message}")
        else:
            wrong.append(f"{program} {choice} {key}={bad!r}: accepted")
    assert not wrong, "\n".join(wrong)


def misspelt(word: str) -> str:
    """The word with its last two letters the other way around, or the last one twice."""
    return word[:-2] + word[-1] + word[-2] if word[-1] != word[-2] else word + word[-1]


def misspellings() -> list[tuple[str, str, str]]:
    """Program, a command with a misspelt key or option, and what is meant."""
    keys = [(program, key) for program in GROUPS for key, _ in leaves(composed(program))]
    found = [(program, f"{key[:-2]}{misspelt(key[-2:])}=1", key) for program, key in keys]
    files = [(program, group, file) for program in GROUPS for group in GROUPS[program]
             for file in sorted((CONF / group).glob("*.yaml"))]  # fmt: skip
    found += [(program, f"{group}={misspelt(file.stem)}", file.stem) for program, group, file in files]
    return [(program, command, meant) for program, command, meant in found if meant not in command]


def test_each_misspelling_is_one_line_with_a_suggestion(sample):
    wrong = []
    for program, command, meant in sample(misspellings(), 12):
        given = {"evaluate": ["run=x"], "report": ["runs=x"], "train": []}[program]
        try:
            check_command(program, CONF, get_args_parser().parse_args([*given, command]))
        except ConfigError as error:
            message = str(error)
            if not message.endswith(f"did you mean {meant}?") or "\n" in message:
                wrong.append(f"{program} {command}: {message}")
        else:
            wrong.append(f"{program} {command}: accepted")
    assert not wrong, "\n".join(wrong)


PROCESSES = {
    "train.py model=gausian": "error: model: there is no 'gausian'; did you mean gaussian?",
    "train.py model.latent_dim=0": "error: model.latent_dim must be a whole number from 1 to 10,000,000, got 0",
    "train.py data=array data.path=gone.npy": "error: data.path: gone.npy does not exist",
    "train.py trainer.max_epochs=x": "error: trainer.max_epochs must be a whole number of at least 1, -1 or null, "
    "got 'x'",
    "evaluate.py run=x split=tset": "error: split must be one of train, val, test, got 'tset'; did you mean test?",
    "report.py runs=x parts=5": "error: parts must be a list of one of table, learning_curves, figure2, figure3, "
    "figure4, figure5, gaps, got 5",
}


@pytest.mark.slow
@pytest.mark.parametrize("command", PROCESSES)
def test_programs_report_invalid_settings_and_create_nothing(command, tmp_path):
    program, *arguments = command.split()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, str(ROOT / program), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (2, f"{PROCESSES[command]}\n", "")
    assert list(tmp_path.iterdir()) == []
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 3  # of a processor; under two on a machine that has nothing else to do


def test_invalid_settings_are_reported_before_torch_is_imported(tmp_path):
    code = (
        "import sys; sys.argv = ['train.py', 'seed=-1']\n"
        "from pathlib import Path\n"
        "from aevb.apps.command_line import check_command_line\n"
        f"try: check_command_line('train', Path({str(CONF)!r}))\n"
        "except SystemExit as stop: print(stop.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "2 False\n"
