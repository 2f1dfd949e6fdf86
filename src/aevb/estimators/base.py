"""The interface of estimators of log p(x)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from aevb.types import Checked
from aevb.vae import VAE


class Estimates(NamedTuple):
    """Estimates for B datapoints, in float64."""

    value: Tensor
    """log p(x) or a bound on it, in nats, (B,)."""
    variance: Tensor
    """Variance of the Monte Carlo noise of each value, (B,)."""
    diagnostics: dict[str, Tensor]
    """Indicators of reliability, such as the effective sample size, (B,) each."""

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The estimates of several chunks of datapoints, concatenated."""
        return cls(
            torch.cat([part.value for part in parts]),
            torch.cat([part.variance for part in parts]),
            {name: torch.cat([part.diagnostics[name] for part in parts]) for name in parts[0].diagnostics},
        )

    @classmethod
    def mean_of(cls, members: Sequence[Self]) -> Self:
        """The mean of the independent estimates for several models on the same datapoints."""
        names = members[0].diagnostics
        return cls(
            torch.stack([each.value for each in members]).mean(0),
            torch.stack([each.variance for each in members]).sum(0) / len(members) ** 2,
            {name: torch.stack([each.diagnostics[name] for each in members]).mean(0) for name in names},
        )

    @property
    def mean(self) -> float:
        """The mean value, in nats per datapoint."""
        return float(self.value.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of the mean over these datapoints, due to the noise of the estimator."""
        return float(self.variance.sum().sqrt()) / len(self.variance)

    @property
    def data_standard_error(self) -> float:
        """Standard error of the mean, due to the choice of datapoints; NaN for a single one."""
        return float(self.value.std()) / len(self.value) ** 0.5


@dataclass(frozen=True)
class Estimator(Checked, ABC):
    """Estimates log p(x), or a bound on it, for many datapoints at once; its fields are its settings.

    A model that takes conditions has been given those of the datapoints, and the estimate is of log p(x|c).
    """

    name: ClassVar[str]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by name."""
        return asdict(self)

    @property
    @abstractmethod
    def rows_per_datapoint(self) -> int:
        """Samples of z in memory for one datapoint."""

    @abstractmethod
    def estimate(self, vae: VAE, x: Tensor, rows: int) -> Estimates:
        """The estimates for x (B, *data_shape), with at most `rows` samples of z in memory where possible."""

    def quantity(self, vae: VAE) -> str:
        """What is estimated of a model."""
        return "log p(x|c)" if vae.needs_condition else "log p(x)"

    def warnings(self, found: Estimates) -> list[str]:
        """Reasons to distrust the values, one sentence each."""
        return []

    def key(self, setting: str) -> str:
        """The full key of a setting."""
        return f"estimators.{self.name}.{setting}"


def low_effective_sample_size(found: Estimates, least: float, remedy: str) -> list[str]:
    """A warning where the effective sample size is below `least` for more than 5 % of the datapoints."""
    share = float((found.diagnostics["effective_sample_size"] < least).double().mean())
    if share <= 0.05:
        return []
    return [f"the effective sample size is below {least:g} for {share:.0%} of the datapoints; {remedy}"]


def poor_acceptance(found: Estimates, low: float, high: float, remedy: str) -> list[str]:
    """A warning where the mean acceptance rate of HMC is outside [low, high]."""
    acceptance = float(found.diagnostics["acceptance"].mean())
    if low <= acceptance <= high:
        return []
    return [f"HMC accepts {acceptance:.0%} of its proposals, which should be {low:.0%} to {high:.0%}; {remedy}"]
