"""`aevb export`: a trained run in, a folder to share out: weights, configuration, model card and picture."""

import logging
import re
from pathlib import Path
from typing import Any

import jinja2
import torch
from omegaconf import DictConfig, OmegaConf

from aevb import __version__, plots
from aevb.apps.compose import compose_unchecked, options_of
from aevb.apps.graphs import write_graphs
from aevb.console import show
from aevb.errors import ConfigError
from aevb.files import atomic_write, require_own_files, require_writable
from aevb.runs.evaluation import read_evaluation
from aevb.runs.exported import write
from aevb.runs.folder import RunFolder
from aevb.runs.load import load_members
from aevb.runs.stored import leaves
from aevb.settings import validate
from aevb.training.noise import seed_noise
from aevb.vae import VAE

log = logging.getLogger("aevb")

LOCAL = ("hydra.", "paths.", "data.root", "data.path", "data.urls", "logger", "resume")
"""Settings that say where things are on the machine of the run; they are not exported."""
OF_TRAINING = ("data", "model", "objective", "optimizer", "schedule", "trainer", "max_samples", "ema_decay", "seeds")
"""Settings, and sections of them, by which a card tells the training of a run that no command started."""
NUM_SAMPLES, COLUMNS = 60, 10
CARD = jinja2.Template((Path(__file__).parent / "model_card.md.jinja").read_text("utf-8"), trim_blocks=True)


def export(config: DictConfig) -> None:
    """Export a run; print where it is."""
    validate(config, "export")
    if config.hub is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", config.hub):
        raise ConfigError(f"hub must be <user>/<name>, got {config.hub!r}")
    run, output = RunFolder(config.run), Path(config.output)
    (vae,), checkpoint = load_members(run, config.checkpoint, config.allow, config.member)
    require_writable(output, "output")
    if output.exists():
        require_own_files(output)
    about = describe(run, checkpoint["samples"], config.checkpoint, config.member)
    write(output, vae, about)
    is_given_labels = about["data"].get("condition") == "labels"
    classes = vae.condition_shape[0] if vae.condition_shape and is_given_labels else None
    has_picture = not vae.needs_condition or classes is not None
    if has_picture:
        draw(vae, output / "samples.png", config.seed, classes)
    name = config.hub.rpartition("/")[2] if config.hub else run.path.resolve().name
    place = f"hf://{config.hub}" if config.hub else str(output)
    condition = vae.condition_shape if vae.needs_condition else None
    card = CARD.render(name=name, place=place, has_picture=has_picture, condition=condition, classes=classes, **about)
    atomic_write(output / "README.md", card + "\n")
    if config.formats:
        for reason in write_graphs(vae, output, config.formats):
            log.info("left out: %s", reason)
    show(f'exported to {output}; load it by aevb.load("{output}")')
    if config.hub is not None:
        from aevb.runs.hub import push  # an extra

        show(f"uploaded to {push(output, config.hub)}")


def describe(run: RunFolder, samples: int, checkpoint: str, member: int) -> dict[str, Any]:
    """What config.json and the model card say of a run; nothing of the machine that it was trained on."""
    stored, status = run.config(), run.status()
    settings: Any = OmegaConf.to_container(stored)
    # Those of a run of several seeds are means over its members.
    is_one = settings.get("seeds") in (None, 1)
    results = {name: value for name, value in status.get("results", {}).items() if value is not None}
    command = run.command()
    entries = read_evaluation(run.path)["entries"] if is_one else []
    return {
        "aevb_version": __version__,
        "model": settings["model"],
        "data": {key: value for key, value in settings.get("data", {}).items() if f"data.{key}" not in LOCAL},
        "objective": settings.get("objective", {}),
        "optimizer": settings.get("optimizer", {}),
        "seed": (settings.get("seed") or 0) + member,
        "samples": samples,
        "date": (status.get("ended") or status.get("started") or "")[:10],
        "command": command and [override for override in command if not override.lstrip("+~").startswith(LOCAL)],
        "changed": changed(settings) if command is None else {},
        "results": results if is_one and checkpoint == "best" else {},
        "estimates": [
            {key: entry.get(key) for key in ("estimator", "split", "datapoints", "value", "standard_error")}
            for entry in entries
            if entry.get("value") is not None
            and (entry.get("checkpoint"), entry.get("samples")) == (checkpoint, samples)
        ],
    }


def changed(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a training, by key, that differ from those of `train.py` with the same data set."""
    of_training = {name: settings.get(name) for name in OF_TRAINING}
    unsaid = (*LOCAL, "data.shape", "model.data_shape")
    found = {key: value for key, value in leaves(of_training, split_lists=False) if not key.startswith(unsaid)}
    differences = []
    for option in options_of(settings.get("data", {}).get("_target_", "")) or ["array"]:
        config = compose_unchecked([f"data={option}"])
        nodes = {name: config[name] for name in OF_TRAINING}
        plain = {
            name: OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
            for name, node in nodes.items()
        }
        defaults = dict(leaves(plain, split_lists=False))
        differences.append({key: value for key, value in found.items() if value != defaults.get(key)})
    return min(differences, key=len)


def draw(vae: VAE, path: Path, seed: int, classes: int | None) -> None:
    """A picture of samples; of a model given labels, a row for each of the first classes."""
    seed_noise("export", seed)
    titles, c = [""] * (NUM_SAMPLES // COLUMNS), None
    if classes is not None:
        titles = [str(label) for label in range(min(classes, plots.MAX_CLASSES))]
        c = torch.eye(classes)[: len(titles)].repeat_interleave(COLUMNS, 0)
    x = plots.reduced(vae.sample(len(titles) * COLUMNS, c=c))
    caption = "means of p(x|z), z ~ p(z)" if c is None else "means of p(x|z, c), a class c in each row"
    rows = list(zip(titles, x.split(COLUMNS), strict=True))
    plots.save(plots.show(rows, vae.p.data_shape, caption, *plots.limits(x)), path)
