"""Learning from few labels: the model M2 of Kingma et al. (2014)."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Categorical

from aevb.distributions.kl import KLEstimator
from aevb.likelihoods import OptimalGaussian
from aevb.objectives.base import Estimate, Objective, elbo
from aevb.types import NonNegative, Size
from aevb.vae import GenerativeModel, RecognitionModel


class SemiSupervised(Objective):
    """The negative bound of data of which some have labels, for a model p(y) p(z|y) p(x|z, y) with p(y) uniform.

    With L(x, y) = E_q(z|x,y)[log p(x|z, y)] − KL(q(z|x, y) ‖ p(z|y)) + log p(y), the bound of a datapoint is

        log p(x, y) ≥ L(x, y)                                          with a label,
        log p(x) ≥ U(x) = Σ_y q(y|x) [L(x, y) − log q(y|x)]            without, by enumeration,

    and the loss is their negative mean over the data minus α times the mean of log q(y|x) over those with a label. Here
    L and U are bounds, the negatives of the source's. Where minibatches have another share of labels than the data
    (`data.labels_per_batch`), both kinds are weighted so that means are those over the data. That of log q(y|x) is over
    the labels of the minibatch, 0 where it has none, which lessens α where some have none.

    The model is given the labels as one-hot conditions, NaN for those that are hidden, and has a classifier q(y|x).
    In validation and test labels are not used: the bound is U(x), comparable with that of a model without labels.

    Source: Kingma, Rezende, Mohamed & Welling (2014), eq. 6 to 9; their α, 0.1 N on sums over the data, is 0.1 here.

    Args:
        num_samples: Samples of z per datapoint and class.
        kl: `analytic`, `sampled`, or `auto`: analytic where a closed form is known.
        alpha: α, nats per datapoint.
        weight_prior: See `Objective`.

    Logged in addition: `accuracy`, of the most probable class of q(y|x), and `log_q_y`, the mean of log q(y|x), over
    datapoints with a label.
    """

    hidden_conditions: ClassVar[bool] = True

    def __init__(
        self,
        num_samples: Size = 1,
        kl: KLEstimator = "auto",
        alpha: NonNegative = 0.1,
        weight_prior: bool = False,
    ) -> None:
        super().__init__(weight_prior)
        self.num_samples = num_samples
        self.kl = kl
        self.alpha = alpha

    def connect(self, p: GenerativeModel, q: RecognitionModel) -> None:
        """Check that the model has a classifier, and a likelihood that is not fitted to what is decoded."""
        if q.classifier is None:
            raise ValueError("objective SemiSupervised needs a model with a classifier: model=semi_supervised")
        if isinstance(p.head, OptimalGaussian):
            raise ValueError(
                "objective SemiSupervised decodes each datapoint for all classes, and likelihood OptimalGaussian would "
                "fit σ² to all of them, whatever their probability; use scalar_gaussian"
            )

    def estimate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        labels, labelled = known_labels(p)
        log_likelihood, kl, log_q = self.terms_per_class(p, q, x)
        q_y, share = log_q.exp(), labelled.mean()
        # With a label, all weight is on its class, and log q(y|x) is no part of the bound.
        weight = torch.where(labelled.bool().unsqueeze(-1), labels, q_y)
        log_q_y = (weight * log_q).sum(-1)
        log_likelihood = (weight * log_likelihood).sum(-1)
        kl = (weight * kl).sum(-1) + math.log(log_q.shape[-1]) + (1 - labelled) * log_q_y
        factor = self.factor(labelled, share)
        log_likelihood, kl = factor * log_likelihood, factor * kl
        bound = log_likelihood - kl
        extras = self.of_classifier(log_q, labels, labelled)
        return Estimate(-bound.mean() - self.alpha * extras["log_q_y"], bound, log_likelihood, kl, extras)

    def factor(self, labelled: Tensor, share: Tensor) -> Tensor:
        """What each datapoint counts, (B,), so that a mean over the minibatch estimates that over the data."""
        if self.num_labels is None:
            return torch.ones_like(labelled)
        of_data = self.num_labels / self.training_set_size("num_labels")
        of_labelled, of_others = of_data / share, (1 - of_data) / (1 - share)
        return torch.where(labelled.bool(), of_labelled, of_others)

    def evaluate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        """U(x), the bound on log p(x), whether there are labels or not."""
        log_likelihood, kl, log_q = self.terms_per_class(p, q, x)
        q_y = log_q.exp()
        log_likelihood = (q_y * log_likelihood).sum(-1)
        kl = (q_y * (kl + log_q)).sum(-1) + math.log(log_q.shape[-1])
        bound = log_likelihood - kl
        return Estimate(-bound.mean(), bound, log_likelihood, kl, self.of_classifier(log_q, *known_labels(p)))

    def of_classifier(self, log_q: Tensor, labels: Tensor, labelled: Tensor) -> dict[str, Tensor]:
        """Accuracy and mean log q(y|x) over the datapoints with a label, () each; zero where there is none."""
        right = (log_q.argmax(-1) == labels.argmax(-1)).to(labelled.dtype)
        count = labelled.sum().clamp(min=1)
        return {"accuracy": (labelled * right).sum() / count, "log_q_y": (labels * log_q).sum() / count}

    def terms_per_class(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """E_q[log p(x|z, y)], KL(q(z|x, y) ‖ p(z|y)) and log q(y|x) for each class y, (B, classes) each."""
        assert q.classifier is not None
        posterior: Categorical = q.classifier(x)
        classes = posterior.logits.shape[-1]
        y = torch.eye(classes, dtype=x.dtype, device=x.device).repeat_interleave(len(x), 0)
        repeated = x.repeat(classes, *[1] * (x.ndim - 1))
        found = elbo(p.given(y), q.given(y), repeated, self.num_samples, self.kl)
        log_likelihood, kl = (part.view(classes, -1).T for part in (found.log_likelihood, found.kl))
        return log_likelihood, kl, posterior.logits


def known_labels(p: GenerativeModel) -> tuple[Tensor, Tensor]:
    """The labels that p is given as one-hot vectors (B, classes), 0 where hidden; and 1 where they are known, (B,)."""
    if p.condition is None:
        raise ValueError("objective SemiSupervised needs labels: p.given(one-hot labels, NaN where hidden)")
    return p.condition.nan_to_num(), p.condition.isfinite().all(-1).to(p.condition.dtype)
