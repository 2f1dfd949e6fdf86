"""wandb with `samples` as the axis of every curve, and the exit code of the training."""

import logging
import os
import shlex
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import wandb
from pydantic import Field, ValidationError
from pytorch_lightning.loggers import WandbLogger as LightningWandbLogger
from pytorch_lightning.utilities import rank_zero_only
from requests.utils import get_netrc_auth

from aevb.errors import first_line
from aevb.training.loggers.wandb_config import dashboard_config
from aevb.types import Checked

log = logging.getLogger("aevb")

START_SECONDS = 20.0
"""Limit on the start of a run, unless WANDB_INIT_TIMEOUT is set."""
UPLOAD_SECONDS = 120.0
"""Limit on the upload at the end of a run, unless WANDB_FINISH_TIMEOUT is set."""

Name = Annotated[Annotated[str, Field(pattern=r"\S", max_length=128)] | int | float, "a name of at most 128 characters"]
Project = Annotated[
    Annotated[str, Field(pattern=r"^[^/\\#?%:]{0,127}[^/\\#?%:\s]$")] | int | float,
    r"a name of at most 128 characters without / \ # ? % :",
]
Tags = Annotated[
    Sequence[Annotated[str, Field(min_length=1, max_length=64)] | int | float],
    "a list of names of at most 64 characters, such as [paper,figure2]",
]


class WandbLogger(Checked, LightningWandbLogger):
    """Lightning's wandb logger with `samples` as the axis, the best value as the summary, and the exit code of the run.

    Online if credentials are configured and the server answers, otherwise offline; without credentials there is no
    prompt and no network access. `WANDB_MODE` and wandb's other environment variables are respected.

    Args:
        folder: The run folder; wandb's own files go to `<folder>/wandb`.
        entity: User or team; None: the account's default.
        name: None: the name of the run folder.
        group: Group of runs on the dashboard.
        job_type: A second level of grouping.
        offline: None: offline where no credentials are configured.
        log_model: Upload the best checkpoint as an artifact at the end; nothing is uploaded offline.
        id: Id of the run, the same when it is resumed.
        resumed_after: Outcome of the previous attempt (interrupted, failed, killed, finished), which is added to the
            configuration, and the run is tagged `resumed`; None: the first attempt.
    """

    def __init__(
        self,
        folder: str | Path,
        project: Project = "aevb",
        entity: Name | None = None,
        name: Name | None = None,
        group: Name | None = None,
        job_type: Name | None = "train",
        tags: Tags = (),
        offline: bool | None = None,
        log_model: bool = False,
        id: str | None = None,
        resumed_after: str | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.upload_best = log_model
        self.resumed_after = resumed_after
        super().__init__(
            project=str(project),
            entity=entity and str(entity),
            name=str(name or self.folder.resolve().name),
            group=group and str(group),
            job_type=job_type and str(job_type),
            tags=[*map(str, tags), *(["resumed"] if resumed_after else [])],
            save_dir=str(self.folder),
            id=id,
            mode=chosen_mode(offline),
            settings=run_settings(),
        )
        del self._wandb_init["anonymous"]  # wandb warns of it, even of None

    @property
    def experiment(self) -> Any:
        """The wandb run."""
        if self._experiment is None:
            self._experiment = start_run(**self._wandb_init)
            self._experiment.define_metric("samples")
            self._experiment.define_metric("*", step_metric="samples", step_sync=True)
            for metric in ("train/elbo", "val/elbo"):
                self._experiment.define_metric(metric, step_metric="samples", summary="max")
        return self._experiment

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log the configuration in the form of `dashboard_config`."""
        config = dashboard_config(vars(params) if isinstance(params, Namespace) else params)
        self.experiment.config.update(config | {"resumed_after": self.resumed_after}, allow_val_change=True)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.experiment.log({**metrics, "samples": step})

    @rank_zero_only
    def finish(self, exit_code: int, best_checkpoint: Path | None = None) -> None:
        """End the wandb run: finished for exit code 0, preempted for a signal (128 + n), else failed."""
        if self._experiment is None:
            return
        if exit_code == 0 and self.upload_best and best_checkpoint is not None and not self.experiment.offline:
            artifact = wandb.Artifact(f"model-{self.experiment.id}", type="model")
            artifact.add_file(str(best_checkpoint))
            self.experiment.log_artifact(artifact, aliases=["best"])
        if exit_code > 128:
            self.experiment.mark_preempting()
        try:
            self.experiment.finish(exit_code=exit_code)
        except TimeoutError:
            folder = shlex.quote(os.path.relpath(Path(self.experiment.dir).parent))
            log.warning("wandb's server does not take the rest of the run; upload it later with: wandb sync %s", folder)

    @property
    def where(self) -> str:
        """The address of the run, or the command that uploads its offline attempts, or both."""
        run = self.experiment
        folder = Path(run.dir).parent.parent
        upload = f"wandb sync {shlex.quote(os.path.relpath(folder))}/offline-run-*"
        if run.offline:
            return upload
        address = str(run.url or "wandb is disabled")
        waiting = [part for part in folder.glob("offline-run-*") if not any(part.glob("*.synced"))]
        return f"{address}, and {upload}" if waiting else address


def start_run(**options: Any) -> Any:
    """`wandb.init`, offline where the server cannot be reached or refuses the run."""
    try:
        return wandb.init(**options)
    except Exception as error:
        if options["mode"] == "offline":
            raise
        log.warning("wandb cannot start online (%s); the run is recorded offline", " ".join(str(error).split()))
    wandb.teardown()  # its process keeps the id of the run that did not start
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    return wandb.init(**options | {"mode": "offline"})


def run_settings() -> wandb.Settings:
    """Settings of every run: silent, with limits on waiting."""
    waits = {"init_timeout": START_SECONDS, "finish_timeout": UPLOAD_SECONDS}
    waits = {name: seconds for name, seconds in waits.items() if f"WANDB_{name.upper()}" not in os.environ}
    return wandb.Settings(silent=True, finish_timeout_raises=True, **waits)  # type: ignore[arg-type]


def chosen_mode(offline: bool | None) -> str | None:
    """wandb's mode: `offline`, or None for wandb's own settings.

    Offline, wandb's error reporting is disabled too, as it alone would access the network.
    """
    try:
        settings = wandb.setup().settings
    except Exception as error:
        raise ValueError(f"wandb refuses its environment or settings file: {reason(error)}") from error
    if offline is None:
        offline = settings.mode == "online" and not has_credentials()
    if offline or settings.mode == "offline":
        os.environ["WANDB_ERROR_REPORTING"] = "false"
    return "offline" if offline else None


def reason(error: Exception) -> str:
    """The reason why wandb refuses a value, in one line."""
    if isinstance(error, ValidationError):
        return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    return first_line(error)


def has_credentials() -> bool:
    """Whether wandb can log in without a prompt: an API key, an identity token, or an entry in the netrc file."""
    settings = wandb.setup().settings
    hosts = [settings.base_url]
    if "WANDB_BASE_URL" not in os.environ:
        hosts.append("https://api.wandb.ai")  # `wandb login` of earlier versions left the key under this name
    return bool(settings.api_key or settings.identity_token_file or any(map(get_netrc_auth, hosts)))
