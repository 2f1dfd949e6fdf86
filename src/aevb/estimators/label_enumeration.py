"""The marginal likelihood of models of labels, whatever the label of a datapoint."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from aevb.errors import ConfigError
from aevb.estimators.base import Estimates, Estimator, low_effective_sample_size
from aevb.estimators.importance_sampling import ImportanceSampling
from aevb.vae import VAE


@dataclass(frozen=True)
class LabelEnumeration(ImportanceSampling):
    """log p(x) = log 1/C Σ_y p(x|y) of a model given one of C labels y, by importance sampling of each p(x|y).

    It compares with log p(x) of models without labels, and does not use the labels of the datapoints. To first order,
    its noise has the variance Σ_y p(y|x)² Var_y; the effective sample size is Σ_y p(y|x) ESS_y.

    Source: Kingma, Rezende, Mohamed & Welling (2014), with a uniform p(y).

    Args:
        num_samples: K, of z for each class.
    """

    name: ClassVar[str] = "label_enumeration"

    def quantity(self, vae: VAE) -> str:
        return "log p(x)"

    @torch.inference_mode()
    def estimate(self, vae: VAE, x: Tensor, rows: int) -> Estimates:
        if not has_labels(vae):
            raise ConfigError(
                "estimators=[label_enumeration] needs a model given one-hot labels, model=conditional or "
                "model=semi_supervised, and this run's is not"
            )
        found = given_each_label(vae, x, ImportanceSampling(self.num_samples), rows)
        log_p, variance, effective = (
            torch.stack(parts, -1)
            for parts in zip(
                *((e.value, e.variance, e.diagnostics["effective_sample_size"]) for e in found), strict=True
            )
        )
        of_label = log_p.softmax(-1)  # p(y|x)
        return Estimates(
            log_p.logsumexp(-1) - math.log(len(found)),
            (of_label.square() * variance).sum(-1),
            {"effective_sample_size": (of_label * effective).sum(-1)},
        )

    def warnings(self, found: Estimates) -> list[str]:
        remedy = f"the value is a lower bound that may be loose: raise {self.key('num_samples')}"
        return low_effective_sample_size(found, 10, remedy)


def has_labels(vae: VAE) -> bool:
    """Whether a model has been given one-hot labels."""
    c = vae.p.condition
    return (
        c is not None and c.ndim == 2 and c.shape[1] > 1 and bool(((c == 0) | (c == 1)).all() & (c.sum(1) == 1).all())
    )


def given_each_label(vae: VAE, x: Tensor, estimator: Estimator, rows: int) -> list[Estimates]:
    """The estimates given each label y, of a model that is given one-hot ones."""
    assert vae.condition_shape is not None
    labels = torch.eye(vae.condition_shape[0], dtype=x.dtype, device=x.device)
    return [estimator.estimate(vae.given(y.expand(len(x), -1), len(x)), x, rows) for y in labels]
