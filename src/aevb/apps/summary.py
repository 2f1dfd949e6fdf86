"""The summaries that are printed at the start and at the end of a run."""

import shlex

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger
from torch import nn

from aevb.config import program
from aevb.console import show, show_values
from aevb.data import InMemoryDataModule
from aevb.runs.folder import RunFolder
from aevb.runs.metrics import value_and_error, without_errors
from aevb.tasks.latents import ACTIVE, variance_of_means
from aevb.training.loggers import GuardedLogger
from aevb.training.module import AEVB

UNITS = {
    "bits_per_dim": "bits per dimension",
    "elbo_per_step": "nats per step",
    "acceptance": "",
    "accuracy": "",
    "perplexity": "codes",
}
"""Units of the metrics that are not in nats per datapoint."""
LIFTED = {"trainer.max_time": " trainer.max_time=null", "trainer.max_steps": " ++trainer.max_steps=-1"}
"""Overrides that a resumed run needs so as not to stop at once."""

COLLAPSED = """\
warning: the posterior has collapsed: q(z|x) is the same for all x, and the model ignores z. Longer training may help;
otherwise raise the weight of the KL slowly (objective.beta_warmup_samples=100000), keep some of it unpenalized
(objective.free_bits=0.1), or use another learning rate (optimizer.lr) or initialization (model.initialization=xavier).
"""


def print_start(
    config: DictConfig,
    folder: RunFolder,
    module: AEVB,
    data: InMemoryDataModule,
    trainer: pl.Trainer,
    resumed_samples: int,
) -> None:
    """Print the parts of the model and their sizes, the data, the device and the run folder."""
    if not trainer.is_global_zero:
        return
    p, q = module.vae.p, module.vae.q
    shape = " x ".join(map(str, data.shape))
    sizes = [len(split.x) for split in data.splits]
    lowest, highest = data.value_range
    values = f"{lowest:g} to {highest:g}" + (" (uint8 / 255)" if data.is_uint8 else "")
    bounded = getattr(p.head, "bounded", None)
    location = "" if bounded is None else f", location {'in (0, 1) by a sigmoid' if bounded is True else 'linear'}"
    rows = {
        "data": f"{type(data).__name__}, {shape}, values {values}: "
        f"{sizes[0]:,} train, {sizes[1]:,} val, {sizes[2]:,} test",
        "q(z|x)": f"{type(q.head).__name__}, {type(q.encoder).__name__}, {parameters(q)}",
        "p(z)": f"{type(p.prior).__name__}, {p.latent_dim} dimensions, {parameters(p.prior)}",
        "p(x|z)": f"{type(p.head).__name__}, {type(p.decoder).__name__}, {parameters(p.decoder, p.head)}{location}",
        "objective": f"{type(module.objective).__name__}, {config.optimizer._target_.split('.')[-1]}"
        f" with learning rate {config.optimizer.lr}, minibatches of {data.batch_size}",
        "device": f"{trainer.strategy.root_device}, "
        f"{trainer.world_size} process{'es' if trainer.world_size > 1 else ''}, {trainer.precision}",
        "run folder": str(folder.path),
    }
    if module.ema_decay is not None:
        rows["evaluated"] = f"the moving average of the weights, decay {module.ema_decay}"
    if len(module.members) > 1:
        seeds = [member.seed for member in module.members]
        rows["seeds"] = f"{len(seeds)}, {seeds[0]} to {seeds[-1]}; pictures show the first"
    if data.num_labels is not None:
        rows["labels"] = f"{data.num_labels:,}, those of the other training data are hidden"
    if resumed_samples:
        rows["resumed"] = f"at {resumed_samples:,} samples"
    show_values("Auto-Encoding Variational Bayes", rows)


def print_end(
    folder: RunFolder,
    module: AEVB,
    data: InMemoryDataModule,
    results: dict[str, float],
    loggers: list[Logger],
    ended_by: str,
) -> None:
    """Print the test metrics with their units, what ended training, the active units, and where the results are."""
    rows = {
        name: f"{value_and_error(results, name, lambda value: f'{value:,.2f}')}"
        f" {UNITS.get(name.split('/')[1], 'nats per datapoint')}"
        for name in without_errors(results)
    }
    if data.log_scale:
        value = results["test/elbo"] - data.log_scale
        rows["test/elbo in units"] = f"{value:,.2f} nats per datapoint, as a density of the columns in their units"
    if len(module.members) > 1:
        rows["seeds"] = f"{len(module.members)}: means ± standard errors; of each seed in {folder.members_file}"
    rows["ended by"] = ended_by
    if ended_by not in ("max_samples", "trainer.max_epochs"):
        of = f" of {module.max_samples:,}" if module.max_samples else ""
        rows["ended by"] += f" at {module.samples_seen:,}{of} samples"
    if ended_by in LIFTED:
        resume = f"{program('train')} resume={shlex.quote(str(folder.path))}{LIFTED[ended_by]}"
        rows["ended by"] += f"; continue with: {resume}"
    variance = variance_of_means(module.vae, data.examples("test", 1000))
    active = int((variance > ACTIVE).sum())
    rows["active units"] = f"{active} of {len(variance)} latent variables"
    if any(folder.images.glob("*.png")):
        rows["pictures"] = str(folder.images)
    for logger in loggers:
        if isinstance(logger, GuardedLogger):
            rows |= logger.where()
    if module.ema_decay is not None:
        rows["weights"] = "tested, drawn and loaded is their moving average"
    rows["in Python"] = f'aevb.load_run("{folder.path}")'
    show_values(f"finished after {module.samples_seen:,} samples", rows)
    if active == 0 and len(data.splits.test.x) > 1:
        show(COLLAPSED)


def parameters(*modules: nn.Module) -> str:
    """The number of parameters of modules, as text."""
    count = sum(parameter.numel() for module in modules for parameter in module.parameters())
    return f"{count:,} parameters"
