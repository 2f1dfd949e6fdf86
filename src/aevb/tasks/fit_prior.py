"""A new prior for a trained model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from aevb.data.loader import value_range
from aevb.data.module import Split
from aevb.distributions.chain import Chain
from aevb.distributions.sequence import Steps
from aevb.estimators import ELBO, Estimates
from aevb.estimators.runner import run
from aevb.networks import FSQ
from aevb.priors import Codes, MixtureOfGaussians, Prior, VampPrior
from aevb.tasks.base import Task, TaskResult
from aevb.types import AtLeastTwo, Positive, Size
from aevb.vae import VAE, GenerativeModel


@dataclass(frozen=True)
class FitPrior(Task):
    """max_p Σ_n E_q(z|x_n)[log p(z)] over the parameters of a new prior; p(x|z) and q(z|x) are as they were trained.

    The ELBO rises by KL(q(z) ‖ p_old) − KL(q(z) ‖ p_new), q(z) = Σ_n q(z|x_n) / N the aggregate posterior, so that the
    new model's samples are from where the decoder was trained. The gain is reported for the datapoints, on which it may
    be negative where the prior overfits. The new model is written as a run folder, `fit_prior/<prior>` of the run.
    Vectors of discrete codes are those of the model.

    Draws of z are fresh in each step of Adam, whose learning rate falls to zero along a cosine. Pseudo-inputs of a
    VampPrior start at training datapoints.

    Sources: Tomczak & Welling (2018), arXiv 1705.07120, section 2, for the optimal prior; Ghosh et al. (2020),
    arXiv 1903.12436, section 4, for a density that is fitted afterwards.

    Args:
        prior: (latent_dim) → the new prior, such as `aevb.priors.Flow`.
        num_steps: Of Adam.
        batch_size: Datapoints in each.
        learning_rate: Initial, of Adam.
        num_samples: Samples of z per datapoint in the ELBOs that are compared.
    """

    name: ClassVar[str] = "fit_prior"
    train_limit: ClassVar[int | None] = None

    prior: Callable[[int], Prior] = MixtureOfGaussians
    num_steps: Size = 5000
    batch_size: Size = 100
    learning_rate: Positive = 0.003
    num_samples: AtLeastTwo = 20

    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        if isinstance(vae.p.prior(), Chain | Steps):
            raise ValueError("task=fit_prior needs one layer of latent variables; this model has layers or steps")
        prior = self.prior(vae.p.latent_dim)
        keep_codes(vae.p.prior, prior)
        fitted = VAE.join(GenerativeModel(prior, vae.p.decoder, vae.p.head), vae.q)
        fitted.p.prior.to(vae.p.head.layer.weight)
        if not list(fitted.p.prior.parameters()):
            raise ValueError(
                f"task=fit_prior needs a prior with parameters, such as model/prior@task.prior=mixture, got "
                f"{type(fitted.p.prior).__name__}"
            )
        pseudo_inputs = [part for part in fitted.p.prior.modules() if isinstance(part, VampPrior)]
        for part in pseudo_inputs:
            part.adapt_to(*value_range(train.x))
            part.start_at(train.x)
        self.fit(fitted.train(False), train.x)
        before, after = (run(ELBO(self.num_samples), each, data, rows)[0] for each in (vae, fitted))
        gain, error = paired(before, after)
        return TaskResult(
            {"elbo_before": before.mean, "elbo_after": after.mean, "gain": gain, "gain_standard_error": error},
            [f"the ELBO gains {gain:.2f} ± {error:.2f} nats, from {before.mean:.2f} to {after.mean:.2f}"],
            model=fitted,
        )

    def fit(self, vae: VAE, x: Tensor) -> None:
        """Optimize the prior's parameters in place."""
        parameters = list(vae.p.prior.parameters())
        optimizer = torch.optim.Adam(parameters, lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.num_steps)
        for _ in range(self.num_steps):
            with torch.no_grad():
                chosen = torch.randint(len(x), (min(self.batch_size, len(x)),), device=x.device)
                z = vae.q(x[chosen]).sample()
            loss = -vae.p.prior().log_prob(z).mean()
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter.grad = gradient
            optimizer.step()
            schedule.step()


def keep_codes(old: Prior, new: Prior) -> None:
    """Give a new prior over codes the vectors of the old one, to which q(z|x) quantizes, and which are decoded.

    Raises:
        ValueError: it is over other codes.
    """
    if isinstance(old, Codes) and isinstance(new, Codes):
        kinds = [
            (type(q), q.code_dim, q.num_codes, q.levels.tolist() if isinstance(q, FSQ) else None)
            for q in (old.quantizer, new.quantizer)
        ]
        if kinds[0] != kinds[1]:
            raise ValueError("task.prior.code_dim and task.prior.quantizer must be those of the prior of the model")
        new.quantizer = old.quantizer


def paired(before: Estimates, after: Estimates) -> tuple[float, float]:
    """The mean difference over datapoints, and its standard error."""
    difference = after.value - before.value
    return float(difference.mean()), float(difference.std()) / len(difference) ** 0.5
