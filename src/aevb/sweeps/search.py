"""A search by Optuna, which the same command continues, and which ends poor trials early."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from optuna.trial import TrialState

from aevb.errors import Pruned
from aevb.training.module import AEVB
from aevb.types import Checked, CountOrZero

INTERRUPTED = "interrupted"
"""An attribute of interrupted trials, which are repeated."""


def continue_study(
    storage: str, name: str, direction: str, num_trials: int, first: Sequence[Mapping[str, Any]]
) -> tuple[int, int]:
    """Create or continue the study of a sweep.

    Trials that a killed or interrupted command has left unfinished are repeated with the same parameters, hence in the
    same folder, so that they resume.

    Args:
        storage: Optuna's URL of a database.
        name: Name of the study.
        direction: `maximize` or `minimize`.
        num_trials: Number of trials of the whole search.
        first: Parameters of the first trials.

    Returns:
        The numbers of remaining and of known trials.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("hydra_plugins.hydra_optuna_sweeper").setLevel(logging.ERROR)  # the table has the reasons
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    study = optuna.create_study(study_name=name, storage=storage, direction=direction, load_if_exists=True)
    if not study.trials:
        for parameters in first:
            study.enqueue_trial(dict(parameters))
        return num_trials, 0
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study._storage.set_trial_user_attr(trial._trial_id, INTERRUPTED, True)
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)
    trials = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    done = sum(INTERRUPTED not in trial.user_attrs for trial in trials)
    return max(0, num_trials - done), len(study.trials)


def has_result(storage: str, name: str) -> bool:
    """Whether a trial of a study has finished."""
    study = optuna.load_study(study_name=name, storage=storage)
    return bool(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


class Pruning(Checked, pl.Callback):
    """Reports val/elbo to Optuna, and ends a trial whose best value is below the median of the others at that point.

    Source: Golovin et al., Google Vizier (KDD 2017), section 3.2.1, as Optuna's `MedianPruner`.

    Args:
        storage: Optuna's URL of the database of the search; None: the run is not part of a search.
        study: Name of the study.
        warmup_samples: Training samples before which no trial is ended.
        startup_trials: Number of trials that must finish before any is ended.
    """

    def __init__(
        self,
        storage: str | None,
        study: str | None,
        warmup_samples: CountOrZero = 0,
        startup_trials: CountOrZero = 3,
    ) -> None:
        self.storage, self.study = storage, study
        self.pruner = optuna.pruners.MedianPruner(
            n_startup_trials=startup_trials,
            n_warmup_steps=warmup_samples,
        )
        self.trial: optuna.trial.Trial | None = None
        self.best_elbo = float("-inf")

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.storage is not None and trainer.is_global_zero:
            study = optuna.load_study(study_name=self.study, storage=self.storage, pruner=self.pruner)
            command = set(HydraConfig.get().overrides.task)  # identifies the trial
            running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            found = [
                trial for trial in running if {f"{name}={value}" for name, value in trial.params.items()} <= command
            ]
            self.trial = optuna.trial.Trial(study, found[-1]._trial_id) if found else None

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit":
            return
        assert isinstance(module, AEVB)
        elbo = float(trainer.callback_metrics["val/elbo"])
        self.best_elbo = max(self.best_elbo, elbo)
        is_behind = False
        if self.trial is not None:
            self.trial.report(elbo, module.samples_seen)
            is_behind = self.trial.should_prune()
        if trainer.strategy.reduce_boolean_decision(is_behind, all=False):
            raise Pruned(module.samples_seen, self.best_elbo)

    def state_dict(self) -> dict[str, Any]:
        return {"best_elbo": self.best_elbo}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_elbo = state_dict["best_elbo"]
