"""`evaluate.py`: estimators and tasks on trained runs; the results go to evaluation.json."""

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf

from aevb.apps.results import entry_of, print_entries, print_entry, results_of_members, save_pictures
from aevb.config import instantiate, require_allowed
from aevb.console import progress_bar
from aevb.data import InMemoryDataModule
from aevb.data.module import Split
from aevb.errors import ConfigError, Stopped, one_line
from aevb.estimators import Estimator
from aevb.estimators.partial import PartialEstimates
from aevb.estimators.runner import rows_at_once, run
from aevb.files import remove_temporaries, require_own_files, require_writable
from aevb.runs.data import load_stored_data
from aevb.runs.derived import write_derived
from aevb.runs.evaluation import add_entry
from aevb.runs.find import find_runs
from aevb.runs.folder import RunFolder
from aevb.runs.load import load_members
from aevb.runs.status import now
from aevb.runs.stored import PLACES, relocate, resolved
from aevb.settings import validate
from aevb.tasks import Task, TaskResult
from aevb.training.steps.products import fast_products
from aevb.vae import VAE

log = logging.getLogger("aevb")


def evaluate(config: DictConfig) -> None:
    """Evaluate a run, or every trained run of a sweep."""
    validate(config, "evaluate")
    folders = find_runs(Path(config.run))
    if not folders:
        raise ConfigError(f"run: {config.run} is not a run folder: it has no .hydra/config.yaml, and contains none")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda: there is no GPU that torch can use; use device=cpu or auto")
    require_known_places(config, folders)
    work = instantiate(config.task) if config.get("task") else [*map(instantiate, config.estimators.values())]
    try:
        skipped = 0
        for folder in folders:
            try:
                evaluate_run(config, folder, work)
            except Exception as error:  # the other runs are evaluated
                if len(folders) == 1:
                    raise
                log.warning("skipped %s: %s", folder.path, one_line(error))
                skipped += 1
        if skipped == len(folders):
            raise ConfigError(f"run: none of the {skipped} runs in {config.run} could be evaluated")
    except KeyboardInterrupt:
        raise Stopped("interrupted; the same command continues", 130) from None


def require_known_places(config: DictConfig, folders: Sequence[RunFolder]) -> None:
    """Raise a `ConfigError` where the command gives a place of data for which no run has a setting."""
    for key, setting in PLACES.items():
        is_given = OmegaConf.select(config, key) is not None
        if is_given and not any(has_data_setting(setting, folder) for folder in folders):
            raise ConfigError(f"{key}: the data of {config.run} have no such setting; drop it")


def has_data_setting(setting: str, folder: RunFolder) -> bool:
    """Whether the data set of a run has a setting; also true where its configuration cannot be read."""
    try:
        return setting in (folder.config().get("data") or {})
    except ConfigError:
        return True


class Trained(NamedTuple):
    """A trained run, and the datapoints on which it is evaluated."""

    folder: RunFolder
    members: list[VAE]
    """One, or those of several seeds."""
    samples: int
    averaged: bool
    """Whether the weights are the moving average of those of training."""
    data: InMemoryDataModule
    datapoints: Split
    rows: int


@fast_products()
def evaluate_run(config: DictConfig, folder: RunFolder, work: list[Estimator] | Task) -> None:
    """Apply a task, or all estimators, to one run; each result is written at once."""
    require_own_files(folder.path)
    require_writable(folder.path, "run")
    remove_temporaries(folder.path)
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if config.member is not None and folder.config().get("seeds") in (None, 1):
        raise ConfigError(f"member: {folder.path} is a run of one seed and has no members; drop it")
    members, checkpoint = load_members(folder, config.checkpoint, config.allow, config.member)
    for vae in members:
        vae.to(device)
    data = data_of(config, folder)
    data.require_same(checkpoint)
    chosen = datapoints(data, config.split, config.limit).to(device)
    rows = rows_at_once(members[0].p, config.max_batch_values)
    trained = Trained(folder, members, checkpoint["samples"], "last_weights" in checkpoint, data, chosen, rows)
    if isinstance(work, Task):
        print_entry(folder.path, perform(config, trained, work))
    else:
        entries: dict[str, list[dict[str, Any]]] = {}
        for estimator in work:
            entries.setdefault(estimator.quantity(members[0]), []).append(apply(config, trained, estimator))
        for quantity, of_quantity in entries.items():
            print_entries(folder.path, of_quantity, quantity)


def identity(config: DictConfig, trained: Trained, settings: dict[str, Any]) -> dict[str, Any]:
    """The fields that identify an entry of evaluation.json: data, settings and weights."""
    one = {} if config.member is None else {"member": config.member}
    return one | {
        "split": config.split,
        "limit": config.limit,
        "settings": settings,
        "checkpoint": config.checkpoint,
        "samples": trained.samples,
        "averaged_weights": trained.averaged,
        "seed": config.seed,
    }


def apply(config: DictConfig, trained: Trained, estimator: Estimator) -> dict[str, Any]:
    """Apply an estimator to each member of a run; returns the entry in evaluation.json."""
    about = {"estimator": estimator.name, **identity(config, trained, estimator.settings)}
    found, partials, total, data = [], [], 0.0, trained.datapoints
    try:
        trained.members[0].given(data.c, len(data.x))
    except ValueError as error:  # labels may be hidden in training
        raise ConfigError(f"split={config.split}: {error}") from error
    for number, vae in enumerate(trained.members):
        # With the same noise, errors of members would not be independent, as those of their mean are taken to be.
        seed = config.seed + (number if config.member is None else config.member)
        name = f"{estimator.name}-{fingerprint(about | {'seed': seed}, trained, vae)}.npz"
        partials.append(PartialEstimates(trained.folder.path / "evaluation" / name))
        title = estimator.name if len(trained.members) == 1 else f"{estimator.name}, member {number}"
        try:
            with progress_bar(title, len(data.x)) as on_progress:
                estimates, seconds = run(estimator, vae, data, trained.rows, seed, partials[-1], on_progress)
        except ValueError as error:  # the estimator is for other models
            raise ConfigError(str(error)) from error
        if number + 1 < len(trained.members):
            partials[-1].save(estimates, seconds)
        found.append(estimates)
        total += seconds
    entry = entry_of(about, estimator, found, trained.members[0].p.head, total, data.c)
    add_entry(trained.folder.path, "entries", entry)
    for partial in partials:
        partial.remove()
    return entry


def perform(config: DictConfig, trained: Trained, task: Task) -> dict[str, Any]:
    """Apply a task to each member of a run; returns the entry in evaluation.json."""
    vae, data = trained.members[0], trained.datapoints
    is_given = vae.condition_shape is not None and data.c is not None
    if (is_given or vae.needs_condition) and not task.takes_condition:
        kind = "sequences of unequal length, as this run's are"
        if vae.needs_condition:
            kind = "models that take a condition, as this run's does"
        raise ConfigError(f"task={task.name} does not support {kind}")
    start, found = time.monotonic(), []
    train = datapoints(trained.data, "train", task.train_limit).to(data.x.device)
    for vae in trained.members:
        torch.manual_seed(config.seed)  # masks, labels and features are the same for all members
        try:
            found.append(task.of(trained.data).run(vae, data, train, trained.rows))
        except ValueError as error:
            raise ConfigError(str(error)) from error
    analysis = found[0]
    if analysis.model is not None:
        analysis.words.append(f"the new model is {write_models(config, trained, found)}")
    entry = {
        "task": task.name,
        **identity(config, trained, task.settings),
        "datapoints": len(data.x),
        "results": results_of_members([each.results for each in found]),
        "words": analysis.words,
        "pictures": save_pictures(trained.folder, trained.samples, f"{task.name}{of_member(config)}", analysis),
        "seconds": time.monotonic() - start,
        "date": now(),
    }
    add_entry(trained.folder.path, "tasks", entry)
    return entry


def write_models(config: DictConfig, trained: Trained, found: Sequence[TaskResult]) -> Path:
    """Write the new models of `task=fit_prior` as a run folder; returns its path."""
    prior = resolved(config.task.prior)
    about = {"samples": trained.samples, type(trained.data).__qualname__: trained.data.state_dict()}
    models = [each.model for each in found if each.model is not None]
    mean = results_of_members([each.results for each in found])["elbo_after"]
    results = {f"{config.split}/elbo": mean} if config.limit is None else {}
    name = str(prior["_target_"]).rpartition(".")[2]
    return write_derived(trained.folder, name + of_member(config), prior, models, about, results, config.member).path


def of_member(config: DictConfig) -> str:
    """What names of files end with where they are of one member."""
    return "" if config.member is None else f"_member_{config.member}"


def fingerprint(about: dict[str, Any], trained: Trained, vae: VAE) -> str:
    """A hash of settings, weights and data: unfinished estimates continue only with the same ones."""
    digest = hashlib.sha256(json.dumps([about, trained.rows], sort_keys=True).encode())
    x, _, c = trained.datapoints
    for tensor in (x, *vae.state_dict().values(), *([] if c is None else [c])):
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def data_of(config: DictConfig, folder: RunFolder) -> InMemoryDataModule:
    """The data of the run, loaded."""
    stored = folder.config()
    relocate(stored, str(folder.path), config.paths.data, config.data.path)
    stored.data.pop("urls", None)  # downloads come from the publisher of the data set
    require_allowed(stored.data, config.allow)
    return load_stored_data(stored)


def datapoints(data: InMemoryDataModule, split: str, limit: int | None) -> Split:
    """Datapoints of a split, x float32; a smaller `limit` gives the first of a larger one."""
    return data.examples(split, limit or len(getattr(data.splits, split).x))
