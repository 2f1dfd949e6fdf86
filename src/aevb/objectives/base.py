"""Base class of objectives, the estimate they return, the true ELBO, and the prior on the weights."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributions import Distribution

from aevb.distributions.codes import PointMass
from aevb.distributions.kl import sample_and_kl_terms
from aevb.networks import FullPrecision
from aevb.posteriors import RecognitionHead
from aevb.types import Checked
from aevb.vae import GenerativeModel, RecognitionModel


class Estimate(NamedTuple):
    """An estimate of a bound on log p(x), in nats.

    Attributes:
        loss: What the optimizer minimises: a scalar, nats per datapoint, the mean over the minibatch.
        elbo: The evidence lower bound of each datapoint, (B,).
        log_likelihood: E_q[log p(x|z)] of each datapoint, (B,).
        kl: KL(q(z|x) ‖ p(z)) of each datapoint, (B,).
        extras: Further quantities to log, by name; their means are reported.
    """

    loss: Tensor
    elbo: Tensor
    log_likelihood: Tensor
    kl: Tensor
    extras: dict[str, Tensor]

    def metrics(self) -> dict[str, Tensor]:
        """Means over the batch, in nats per datapoint, by the name under which they are logged."""
        parts = {"elbo": self.elbo, "log_likelihood": self.log_likelihood, "kl": self.kl, **self.extras}
        return {"loss": self.loss.detach()} | {name: value.detach().mean() for name, value in parts.items()}


class Objective(Checked, FullPrecision, ABC):
    """A callable (p, q, x) → `Estimate` whose loss is minimised in training.

    A condition c of each datapoint, where there is one, has been given to p and q: an objective need not know of it.

    An objective may have parameters of its own, which are trained with those of the model: they are made in the
    constructor, or in `connect` where their shapes follow from the model.

    Args:
        weight_prior: Add the prior p(θ) = N(0, I) on the generative weights, which makes θ a MAP estimate
            (section 5 of the paper). It is scaled by 1/N, as the loss is per datapoint, and is no part of the ELBO.
    """

    hidden_conditions: ClassVar[bool] = False
    """Whether the conditions of some datapoints may be hidden, NaN."""

    auxiliary_losses: ClassVar[bool] = False
    """Whether the loss includes the auxiliary loss of a posterior head, without which some do not train."""

    samples_seen: Tensor
    """Training samples evaluated so far, an int64 (); set in place before each minibatch."""

    def __init__(self, weight_prior: bool = True) -> None:
        super().__init__()
        self.weight_prior = weight_prior
        self.num_data: int | None = None
        """N, the size of the training set; the trainer sets it."""
        self.num_labels: int | None = None
        """Training datapoints whose condition is not hidden, where minibatches have another share of these than the
        training set; the trainer sets it."""
        self.register_buffer("samples_seen", torch.zeros((), dtype=torch.int64), persistent=False)

    def connect(self, p: GenerativeModel, q: RecognitionModel) -> None:
        """Called once with the model, before the optimizer is made, for parameters whose shapes follow from it."""

    def estimates(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Iterator[Estimate]:
        """The estimates for a minibatch whose losses are minimised in turn, by one optimizer step each.

        Most objectives have one. `MonteCarloEM` yields several, each computed after the step for the one before it.
        """
        yield self(p, q, x)

    def forward(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        """The estimate for a minibatch x (B, *data_shape), with the prior on the weights in its loss."""
        return self.with_weight_prior(p, self.estimate(p, q, x))

    @abstractmethod
    def estimate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        """The estimate of the bound itself."""

    def evaluate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        """The estimate for validation and test: the true ELBO, whatever the training loss."""
        return elbo(p, q, x)

    def with_auxiliary_loss(self, q: RecognitionModel, posterior: Distribution, estimate: Estimate) -> Estimate:
        """`estimate` with what the posterior's head adds to the loss of a training step, if anything."""
        head = getattr(q, "head", None)  # q may be any function of x
        auxiliary = head.auxiliary_loss(posterior) if isinstance(head, RecognitionHead) else None
        if auxiliary is None:
            return estimate
        extras = estimate.extras | {"auxiliary_loss": auxiliary}
        return estimate._replace(loss=estimate.loss + auxiliary.mean(), extras=extras)

    def with_weight_prior(self, p: GenerativeModel, estimate: Estimate) -> Estimate:
        """`estimate` with −log p(θ)/N in its loss, if `weight_prior` is on."""
        if not self.weight_prior:
            return estimate
        log_prior = log_weight_prior(p) / self.training_set_size("weight_prior")
        extras = estimate.extras | {"log_weight_prior": log_prior}
        return estimate._replace(loss=estimate.loss - log_prior, extras=extras)

    def training_set_size(self, purpose: str) -> int:
        """N, which the setting `purpose` needs."""
        if self.num_data is None:
            raise RuntimeError(f"objective.{purpose} needs objective.num_data, the size of the training set")
        return self.num_data


def elbo(p: GenerativeModel, q: RecognitionModel, x: Tensor, num_samples: int = 1, kl: str = "auto") -> Estimate:
    """The evidence lower bound by the SGVB estimator.

    With the analytic KL it is eq. 7 of the paper, −KL(q(z|x) ‖ p(z)) + 1/L Σ_l log p(x|z_l), otherwise eq. 6,
    1/L Σ_l [log p(x, z_l) − log q(z_l|x)].

    Args:
        p: Generative model.
        q: Recognition model.
        x: Minibatch (B, *data_shape).
        num_samples: L.
        kl: `analytic`, `sampled`, or `auto`: analytic where a closed form is known.
    """
    return elbo_of(q(x), p, x, num_samples, kl)


def elbo_of(posterior: Distribution, p: GenerativeModel, x: Tensor, num_samples: int, kl: str) -> Estimate:
    """`elbo` with the posterior q(z|x)."""
    z, divergence, kl_of_blocks = sample_and_kl_terms(posterior, p.prior(), num_samples, kl)
    log_likelihood = p.likelihood(z).log_prob(x).mean(0)
    bound = log_likelihood - divergence
    return Estimate(-bound.mean(), bound, log_likelihood, divergence, kl_of_blocks | statistics(posterior))


def statistics(posterior: Distribution) -> dict[str, Tensor]:
    """What is logged of a posterior beside its KL, () each."""
    return {"perplexity": posterior.perplexity()} if isinstance(posterior, PointMass) else {}


def log_weight_prior(p: GenerativeModel) -> Tensor:
    """log p(θ) = log N(θ; 0, I) of all generative weights, in nats; a scalar."""
    weights = [weight for weight in p.parameters() if weight.requires_grad]
    squared_norm: Tensor = SquaredNorm.apply(*weights)
    return -0.5 * squared_norm - 0.5 * math.log(2 * math.pi) * sum(weight.numel() for weight in weights)


class SquaredNorm(torch.autograd.Function):
    """Σ w² over tensors, in one pass forwards and one backwards.

    Composed of torch's operations it takes three of each, a seventh of a training step of the paper's MNIST model.
    """

    @staticmethod
    def forward(ctx: Any, *weights: Tensor) -> Tensor:
        ctx.save_for_backward(*weights)
        return torch.stack([torch.dot(weight.flatten(), weight.flatten()) for weight in weights]).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        return tuple(2 * gradient * weight for weight in ctx.saved_tensors)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Freeze the module's parameters inside the block: nothing computed there has a gradient for them."""
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_()


def surrogate(value: Tensor, gradient_of: Tensor) -> Tensor:
    """A tensor with the value of one expression and the gradient of another."""
    return value.detach() + gradient_of - gradient_of.detach()
