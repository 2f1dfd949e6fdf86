"""wandb with `samples` as the axis of every curve, and a run that ends as training did."""

import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from pytorch_lightning.loggers import WandbLogger as LightningWandbLogger
from pytorch_lightning.utilities import rank_zero_only
from requests.utils import get_netrc_auth

from aevb.training.loggers.wandb_config import dashboard_config


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
        resumed_after: How the run's last attempt ended (interrupted, failed, killed, finished); None: this is its
            first. It goes to the configuration, and the run gets the tag `resumed`.
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
        resumed_after: str | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.upload_best = log_model
        self.resumed_after = resumed_after
        super().__init__(
            project=project,
            entity=entity,
            name=name or self.folder.resolve().name,
            group=group,
            job_type=job_type,
            tags=[*tags, *(["resumed"] if resumed_after else [])],
            save_dir=str(self.folder),
            id=id,
            mode=chosen_mode(offline),
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
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Give wandb the configuration in the form by which its dashboards can group: see `dashboard_config`."""
        config = dashboard_config(vars(params) if isinstance(params, Namespace) else params)
        self.experiment.config.update(config | {"resumed_after": self.resumed_after}, allow_val_change=True)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.experiment.log({**metrics, "samples": step})

    @rank_zero_only
    def finish(self, exit_code: int, best_checkpoint: Path | None = None) -> None:
        """End the wandb run: finished for exit code 0, else failed; preempted if a signal interrupted it (128 + n)."""
        if self._experiment is None:
            return
        if exit_code == 0 and self.upload_best and best_checkpoint is not None and not self.experiment.offline:
            artifact = wandb.Artifact(f"model-{self.experiment.id}", type="model")
            artifact.add_file(str(best_checkpoint))
            self.experiment.log_artifact(artifact, aliases=["best"])
        if exit_code > 128:
            self.experiment.mark_preempting()
        self.experiment.finish(exit_code=exit_code)

    @property
    def where(self) -> str:
        """Where to look at the run, or how to upload it, for the user to read."""
        return where_to_look(self.experiment)


def chosen_mode(offline: bool | None) -> str | None:
    """wandb's mode: `offline`, or None to leave it to wandb's own settings.

    Offline, wandb is also told not to report its own errors: only for that would it look up a host.
    """
    settings = wandb.setup().settings
    if offline is None:
        offline = settings.mode == "online" and not has_credentials()
    if offline or settings.mode == "offline":
        os.environ["WANDB_ERROR_REPORTING"] = "false"
    return "offline" if offline else None


def where_to_look(run: Any) -> str:
    """The address of a wandb run, or the command that uploads it."""
    if run.offline:
        return f"wandb sync {os.path.relpath(Path(run.dir).parent)}"
    return str(run.url or "wandb is disabled")


def has_credentials() -> bool:
    """Whether wandb could log in without asking: an API key, an identity token, or an entry in the netrc file."""
    settings = wandb.setup().settings
    hosts = [settings.base_url]
    if "WANDB_BASE_URL" not in os.environ:
        hosts.append("https://api.wandb.ai")  # `wandb login` of earlier versions left the key under this name
    return bool(settings.api_key or settings.identity_token_file or any(map(get_netrc_auth, hosts)))
