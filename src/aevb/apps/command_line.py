"""Validation of the command line before Hydra acts on it: an error is one line, and nothing is written.

Hydra creates the run folder before it calls a program, and its errors about misspelt options name its internals. The
configuration is therefore composed here first, which takes a fifth of a second.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException
from yaml import YAMLError

from aevb.config import register_resolvers, target_of
from aevb.errors import ConfigError, fail, first_line, one_line
from aevb.files import require_writable
from aevb.schemas import RENAMED, SCHEMAS
from aevb.settings import keys_of, unknown_key, validate
from aevb.signatures import signature_of
from aevb.sweeps.names import root
from aevb.types import did_you_mean, shown

FOLDERS = {"data.path", "hydra.run.dir", "hydra.sweep.dir", "output", "paths.data", "paths.run", "resume", "run",
           "runs", "sweep.name"}  # fmt: skip
"""Keys whose values are paths or names of folders, which may contain characters of Hydra's syntax."""

EXTRAS = {
    "data=anndata": ("anndata", "anndata"),
    "data=documents": ("lda", "documents"),
    "data=huggingface": ("datasets", "huggingface"),
    "hydra/launcher=joblib": ("hydra_plugins.hydra_joblib_launcher", "joblib"),
    "hydra/sweeper=optuna": ("hydra_plugins.hydra_optuna_sweeper", "optuna"),
    "logger=mlflow": ("mlflow", "mlflow"),
    "logger=tensorboard": ("tensorboard", "tensorboard"),
    "sweep=learning_rate": ("hydra_plugins.hydra_optuna_sweeper", "optuna"),
    "task=compress": ("constriction", "compress"),
    "task=melodies": ("music21", "music"),
    "task.projection=umap": ("umap", "umap"),
}
"""Arguments that need a library that is no dependency: its package, and the extra that installs it."""

CHANGEABLE = ("allow", "callbacks", "logger", "max_samples", "resume", "steps", "sweep", "trainer")
"""Sections that a command may change in a run that it resumes."""

INVALID = (HydraException, OmegaConfBaseException, YAMLError, ValueError, TypeError)
"""Errors of a configuration that cannot be composed."""

SWEPT_VALUES = 12
"""Values of a sweep that are checked before it starts; the others are checked when their jobs start."""


def check_command_line(program: str, conf: Path) -> None:
    """Quote the paths in `sys.argv`, and exit with one line and code 2 where the command is invalid."""
    try:
        Path.cwd()
    except FileNotFoundError:
        fail("error: the working directory was deleted; change to another", 2)
    parser = get_args_parser()
    parser.error = lambda message: fail(f"error: {message}; --help lists the settings", 2)  # type: ignore[method-assign]
    arguments = parser.parse_intermixed_args()
    flags = [argument for argument in sys.argv[1:] if argument not in arguments.overrides]
    arguments.overrides = [quoted(argument, arguments.multirun) for argument in arguments.overrides]
    keys = {override.partition("=")[0] for override in arguments.overrides}
    if program == "train" and {"resume", "data.path"} <= keys and "data" not in keys:
        # Only this data set has the key data.path; a resumed run keeps its own.
        arguments.overrides.insert(0, "data=array")
    sys.argv[1:] = [*flags, *arguments.overrides]  # Hydra does not take flags between the overrides
    if arguments.hydra_help or arguments.shell_completion or arguments.config_path or arguments.experimental_rerun:
        return
    try:
        check_command(program, conf, arguments)
    except ConfigError as error:
        fail(f"error: {error}", 2)


def check_command(program: str, conf: Path, arguments: argparse.Namespace) -> None:
    """Compose and validate the configuration of a command; for a sweep, with each of the listed values."""
    for argument in arguments.overrides:
        module, extra = EXTRAS.get(argument, ("", ""))
        if module and find_spec(module) is None:
            raise ConfigError(f"{argument} is an extra; install it with: pip install 'aevb[{extra}]'")
    name = arguments.config_name or program
    overrides = [parse_override(argument) for argument in arguments.overrides]
    try:
        with initialize_config_dir(str(conf.absolute()), version_base="1.3"):
            add_own_conf(arguments.config_dir)
            require_options(overrides)
            config = composed(name, without_sweeps(overrides), program)
            if arguments.help or arguments.cfg or arguments.info:
                return
            is_sweep = arguments.multirun or config.hydra.mode == RunMode.MULTIRUN
            if not is_sweep:
                require_single(overrides)
            check_composed(config, program, is_sweep)
            others = variants(overrides, config) if is_sweep else ()
            for variant in islice(others, SWEPT_VALUES):
                check_composed(composed(name, variant, program), program, is_sweep)
    finally:
        HydraConfig.instance().cfg = None


def add_own_conf(folder: str | Path | None) -> None:
    """Let the initialized Hydra find the options in a folder of the user's, too."""
    if folder is None:
        return
    if not Path(folder).is_dir():
        raise ConfigError(f"--config-dir: {folder} is not a folder")
    loader: Any = GlobalHydra.instance().config_loader()
    loader.config_search_path.prepend("--config-dir", f"file://{Path(folder).absolute()}", "schema")  # Hydra's last
    loader.repository = ConfigRepository(loader.config_search_path)


def composed(name: str, overrides: Sequence[Override], program: str) -> DictConfig:
    """The configuration, with its `hydra` node."""
    lines = [override.input_line or "" for override in overrides]
    try:
        return compose(name, lines, return_hydra_config=True)
    except INVALID as error:
        raise ConfigError(composition_error(error, name, overrides, program)) from error


def check_composed(config: DictConfig, program: str, is_sweep: bool) -> None:
    """Validate a configuration, and the folder of the run or of the sweep."""
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    config.hydra.runtime.output_dir = "."
    HydraConfig.instance().set_config(config)
    validate(own, program)
    if program == "train":
        if own.resume is not None and not (Path(own.resume) / ".hydra" / "config.yaml").is_file():
            raise ConfigError(f"resume: {own.resume} is not a run folder: it has no .hydra/config.yaml")
        if "${" in str(own.sweep.name):
            raise ConfigError(f"sweep.name: the name of a sweep cannot contain ${{, got {shown(own.sweep.name)}")
        check_folder(config, "hydra.sweep.dir" if is_sweep else "hydra.run.dir")


def check_folder(config: DictConfig, key: str) -> None:
    """Raise a `ConfigError` where the folder of a run or a sweep cannot be written, or Hydra cannot handle its name."""
    # The actual resolver creates the folder.
    OmegaConf.register_new_resolver("run_folder", lambda resume, path: str(resume or path), replace=True)
    try:
        folder = OmegaConf.select(config, key)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{key}: {first_line(error)}") from error
    finally:
        register_resolvers()
    if not isinstance(folder, str) or not folder.strip():
        raise ConfigError(f"{key} must name a folder, got {shown(folder)}")
    if "${" in folder:
        key = "resume" if folder == config.resume else key
        raise ConfigError(f"{key}: the name of a run folder cannot contain ${{, got {shown(folder)}")
    require_writable(Path(folder), key)


def parse_override(argument: str) -> Override:
    """An argument as Hydra parses it."""
    try:
        return OverridesParser.create().parse_override(argument)
    except HydraException as error:
        key, equals, value = argument.partition("=")
        if not equals and not argument.startswith("~"):
            raise ConfigError(f"{argument}: an argument has the form key=value") from error
        raise ConfigError(
            f"{key}: the value cannot be parsed: {value}; if it is a text, quote it twice: \"{key}='…'\""
        ) from error


def require_single(overrides: Sequence[Override]) -> None:
    """Raise a `ConfigError` where a command that is not a sweep gives a key several values."""
    for override in overrides:
        if override.is_sweep_override():
            advice = f"add -m for a sweep over them, or write a list as {override.key_or_group}=[…]"
            raise ConfigError(f"{override.key_or_group}: {override.input_line} gives several values; {advice}")


def require_options(overrides: Sequence[Override]) -> None:
    """Raise a `ConfigError` where a sweep lists an option that its group does not have."""
    loader = GlobalHydra.instance().config_loader()
    for override in overrides:
        if override.is_sweep_override() and loader.get_group_options(override.key_or_group.lstrip("+~").split("@")[0]):
            problems = (wrong_option(value, loader) for value in values_of(override, limit=None))
            if problem := next(filter(None, problems), None):
                raise ConfigError(problem)


def without_sweeps(overrides: Sequence[Override]) -> list[Override]:
    """The overrides, each sweep replaced by its first value; intervals and globs are dropped."""
    single = (values_of(override)[:1] if override.is_sweep_override() else [override] for override in overrides)
    return list(chain.from_iterable(single))


def variants(overrides: Sequence[Override], config: DictConfig) -> Iterator[list[Override]]:
    """The overrides with each further value of each sweep, one at a time; including the sweeps of a preset."""
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    given = {override.key_or_group for override in overrides}
    preset = [parse_override(f"{key}={value}") for key, value in params.items() if key not in given]
    varied = [*(override for override in preset if override.is_sweep_override()), *overrides]
    for index, override in enumerate(varied):
        if override.is_sweep_override():
            for value in values_of(override)[override not in preset :]:
                yield without_sweeps([*varied[:index], value, *varied[index + 1 :]])


def values_of(override: Override, limit: int | None = SWEPT_VALUES + 1) -> list[Override]:
    """An override for each listed value of a sweep; none for an interval or a glob."""
    if not isinstance(override.value(), ChoiceSweep | RangeSweep):
        return []
    values = islice(override.sweep_string_iterator(), limit)
    return [parse_override(f"{override.get_key_element()}={value}") for value in values]


def composition_error(error: Exception, name: str, overrides: Sequence[Override], program: str) -> str:
    """The message for overrides that Hydra cannot compose."""
    loader = GlobalHydra.instance().config_loader()
    groups = [*groups_of(loader)]
    for override in overrides:
        section = root(override)
        if section not in SCHEMAS[program] and (
            section in RENAMED or any(section in schema for schema in SCHEMAS.values())
        ):
            return unknown_key(section, program)
        if override.key_or_group in groups and not override.is_delete() and (problem := wrong_option(override, loader)):
            return problem
    chosen = [override.input_line or "" for override in overrides if override.key_or_group in groups]
    try:
        config = compose(name, chosen, return_hydra_config=True)
    except INVALID:
        return one_line(error)
    keys = [*keys_of(config)]
    used = [group for group in groups if group in config.hydra.runtime.choices]
    resumes = program == "train" and any(override.key_or_group == "resume" for override in overrides)
    for override in overrides:
        key = override.key_or_group
        if override.is_add() and key in keys and not override.is_force_add():
            return f"{key} is already in the configuration; write {override.input_line.lstrip('+')}"  # type: ignore[union-attr]
        if not (key in (used if key in groups else keys) or override.is_add() or override.is_force_add()):
            if resumes and root(override) in SCHEMAS[program].keys() - CHANGEABLE:
                return keeps_its_own(override)  # that run may have the key
            return unknown_override(override, config, [*keys, *used], program)
        try:
            OmegaConf.create([override.value()] if isinstance(override.value(), str) else [])
        except GrammarParseError:
            return f"{key}: invalid interpolation: {override.input_line}; for the characters ${{ write \\${{"
    return one_line(error)


def keeps_its_own(override: Override) -> str:
    """The message for a setting that a command cannot change in a run that it resumes."""
    key = override.key_or_group
    return f"{key}: a resumed run keeps its own; drop {override.input_line}, or start a new run"


def wrong_option(override: Override, loader: ConfigLoader) -> str | None:
    """The message for an option that a group does not have."""
    options = loader.get_group_options(override.key_or_group, ObjectType.CONFIG)
    value = override.value()
    for option in value if isinstance(value, list) else [value]:
        if option not in options:
            hint = did_you_mean(str(option), options) or f"; it may be {', '.join(options)}"
            return f"{override.key_or_group}: there is no {shown(option)}{hint}"
    return None


def unknown_override(override: Override, config: DictConfig, keys: Sequence[str], program: str) -> str:
    """The message for an override whose key does not exist."""
    key = override.key_or_group
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent in keys else None
    if isinstance(node, DictConfig) and "_target_" in node:
        signature = signature_of(target_of(node))
        if signature is not None and name in signature.parameters:
            return f"{key} has its default and is not in the configuration; add it with +{override.input_line}"
    same = [other for other in keys if other.rpartition(".")[2] == name and not other.startswith("hydra.")]
    hint = did_you_mean(key, keys) or (f"; did you mean {same[0]}?" if same else "")
    return f"{key} is not a setting of {program}.py{hint}"


def groups_of(loader: ConfigLoader, parent: str = "") -> Iterator[str]:
    """All groups of options, in full."""
    for group in loader.list_groups(parent):
        name = f"{parent}/{group}" if parent else group
        yield name
        yield from groups_of(loader, name)


def quoted(argument: str, is_sweep: bool) -> str:
    """An argument that names a path, quoted where Hydra would parse it as something else.

    The folders of a sweep's jobs contain = and , which shells do not quote. A quoted value, a list of runs and the
    values of a sweep stay unchanged; ${…} is an interpolation unless a file has this name.
    """
    key, _, value = argument.partition("=")
    if key.lstrip("+") in FOLDERS and value.startswith("~/"):  # most shells expand it at the start of a word alone
        value = str(Path(value).expanduser())
        argument = f"{key}={value}"
    if key.lstrip("+") not in FOLDERS or value in ("", "null") or (key == "runs" and value[0] == "["):
        return argument
    if not ("${" in value and Path(value).exists()) and is_read_as_written(argument, value, is_sweep):
        return argument
    value = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    value = re.sub(r"(\\*)'", r"\1\1\\'", value)
    value = re.sub(r"(\\+)$", r"\1\1", value)
    return f"{key}='{value}'"


def is_read_as_written(argument: str, value: str, is_sweep: bool) -> bool:
    """Whether Hydra parses the value as the text itself, or as a quoted text."""
    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    if override.is_sweep_override():
        return is_sweep
    found: Any = override.value()
    return isinstance(found, str) and (found == value or value[0] in "'\"")
