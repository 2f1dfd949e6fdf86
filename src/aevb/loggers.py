"""Loggers: the run folder's own metrics.csv, and wandb with `samples` as the axis of every curve."""

import csv
import io
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from matplotlib.image import imread
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.loggers import WandbLogger as LightningWandbLogger
from pytorch_lightning.utilities import rank_zero_only
from requests.utils import get_netrc_auth

from aevb.files import atomic_write


class MetricsFile(Logger):
    """Appends metrics to a CSV file, a row per logging step; the first column is `samples`.

    A metric that first appears later adds a column: the file is then rewritten once, atomically.

    Args:
        path: The file; it is continued if it exists.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        self.columns = self.read()[0] if self.path.is_file() else []

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run folder holds the configuration already."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row = {"samples": step, **metrics}
        new = [name for name in row if name not in self.columns]
        if new:
            rows = self.read()[1] if self.columns else []
            self.columns += new
            self.write(rows)
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.columns).writerow(row)

    def read(self) -> tuple[list[str], list[dict[str, str]]]:
        """The columns, and the rows that were written whole."""
        with self.path.open(newline="") as file:
            reader = csv.DictReader(file)
            return list(reader.fieldnames or []), [row for row in reader if None not in row.values()]

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the file by these rows."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns)
        writer.writeheader()
        writer.writerows(rows)
        atomic_write(self.path, text.getvalue())

    def truncate(self, samples: int) -> None:
        """Forget what was logged after `samples`: a resumed run logs it again."""
        if self.columns:
            self.write([row for row in self.read()[1] if int(row["samples"]) <= samples])


class WandbLogger(LightningWandbLogger):
    """Lightning's wandb logger with `samples` as the axis, the best value as the summary, and a right ending.

    Online where credentials are configured, offline otherwise: no prompt and no network call then. `WANDB_MODE` and
    wandb's other environment variables are respected.

    Args:
        folder: The run folder; wandb's own files go to `<folder>/wandb`.
        project: wandb's project.
        entity: User or team; None: the account's default.
        name: Of the run; None: the name of the run folder.
        group: Runs of one group are folded together on the dashboard.
        job_type: A second level of grouping.
        tags: To filter by.
        offline: True or False decide; None: offline where no credentials are configured.
        log_model: Upload the best checkpoint as an artifact at the end; nothing is uploaded offline.
        id: Of the run; a resumed run has the id of its beginning.
    """

    def __init__(
        self,
        folder: str | Path,
        project: str = "aevb",
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        job_type: str | None = "train",
        tags: Sequence[str] = (),
        offline: bool | None = None,
        log_model: bool = False,
        id: str | None = None,
    ) -> None:
        settings = wandb.setup().settings
        if offline is None:
            offline = settings.mode == "online" and not has_credentials()
        self.folder = Path(folder)
        self.upload_best = log_model
        super().__init__(
            project=project,
            entity=entity,
            name=name or self.folder.resolve().name,
            group=group,
            job_type=job_type,
            tags=list(tags),
            save_dir=str(self.folder),
            id=id,
            mode="offline" if offline else None,
            settings=wandb.Settings(silent=True),
        )
        del self._wandb_init["anonymous"]  # wandb warns of it, even of None

    @property
    def experiment(self) -> Any:
        """The wandb run."""
        is_new = self._experiment is None
        run = super().experiment
        if is_new and isinstance(run, wandb.Run):
            run.define_metric("samples")
            run.define_metric("*", step_metric="samples", step_sync=True)
            for metric in ("train/elbo", "val/elbo"):
                run.define_metric(metric, step_metric="samples", summary="max")
        return run

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.experiment.log({**metrics, "samples": step})

    @rank_zero_only
    def finish(self, exit_code: int, best_checkpoint: Path | None = None) -> None:
        """End the wandb run: finished for exit code 0, else crashed."""
        if self._experiment is None:
            return
        if exit_code == 0 and self.upload_best and best_checkpoint is not None and not self.experiment.offline:
            artifact = wandb.Artifact(f"model-{self.experiment.id}", type="model")
            artifact.add_file(str(best_checkpoint))
            self.experiment.log_artifact(artifact, aliases=["best"])
        self.experiment.finish(exit_code=exit_code)

    @property
    def where(self) -> str:
        """Where to look at the run, or how to upload it, for the user to read."""
        if self.experiment.offline:
            return f"wandb sync {os.path.relpath(Path(self.experiment.dir).parent)}"
        return str(self.experiment.url or "wandb is disabled")


def has_credentials() -> bool:
    """Whether wandb could log in without asking: an API key, an identity token, or an entry in the netrc file."""
    settings = wandb.setup().settings
    hosts = [settings.base_url]
    if "WANDB_BASE_URL" not in os.environ:
        hosts.append("https://api.wandb.ai")  # `wandb login` of earlier versions left the key under this name
    return bool(settings.api_key or settings.identity_token_file or any(map(get_netrc_auth, hosts)))


def log_image(logger: Logger, name: str, path: Path, samples: int) -> None:
    """Give a picture to a logger that takes pictures."""
    if isinstance(logger, LightningWandbLogger):
        logger.log_metrics({name: wandb.Image(str(path))}, samples)  # type: ignore[dict-item]
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(name, imread(path), samples, dataformats="HWC")
