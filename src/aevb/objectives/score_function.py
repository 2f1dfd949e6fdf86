"""The score-function estimator, also known as REINFORCE or the likelihood-ratio estimator."""

from typing import Literal, cast

import torch
from torch import Tensor, nn

from aevb.collectives import means_over_processes
from aevb.distributions.kl import KLEstimator, analytic_kl
from aevb.networks import MLP
from aevb.objectives.base import Estimate, Objective, surrogate
from aevb.types import Fraction, Size
from aevb.vae import GenerativeModel, RecognitionModel


class ScoreFunction(Objective):
    """The negative ELBO, with the gradient for φ by the score function: no reparameterization of z is needed.

        ∇_φ E_q[f(z)] = E_q[(f(z) − b) ∇_φ log q(z|x)]

    where f is the ELBO at one z: log p(x|z) − KL with an analytic KL, log p(x, z) − log q(z|x) with a sampled one. The
    baseline b does not depend on the z that it is subtracted for, so it changes the variance, not the mean:

    - `none`: b = 0.
    - `learned`: b = m + s n(x). The network n is trained by least squares; m and s are running averages of the mean and
      standard deviation of f.
    - `leave_one_out`: the mean of f over the other samples of the same datapoint. It needs at least two.

    The gradient for θ is that of SGVB.

    Sources: Kingma & Welling (2013), section 2.2; Williams (1992); learned baseline: Mnih & Gregor (2014);
    leave-one-out: Mnih & Rezende (2016), Kool et al. (2019).

    Args:
        num_samples: L, samples of z per datapoint.
        baseline: `none`, `learned` or `leave_one_out`.
        kl: `analytic`, `sampled`, or `auto`: analytic where a closed form is known.
        baseline_hidden: Units of the one hidden layer of the learned baseline's network.
        baseline_decay: Decay per step of the learned baseline's running averages.
        weight_prior: See `Objective`.

    Logged in addition: `baseline_error`, the mean of (f − b)², where there is a baseline.
    """

    def __init__(
        self,
        num_samples: Size = 1,
        baseline: Literal["none", "learned", "leave_one_out"] = "none",
        kl: KLEstimator = "auto",
        baseline_hidden: Size = 100,
        baseline_decay: Fraction = 0.95,
        weight_prior: bool = True,
    ) -> None:
        super().__init__(weight_prior)
        if baseline == "leave_one_out" and num_samples < 2:
            raise ValueError(f"num_samples must be at least 2 with baseline=leave_one_out, got {num_samples}")
        self.num_samples = num_samples
        self.baseline = baseline
        self.kl = kl
        self.baseline_hidden = baseline_hidden
        self.baseline_decay = baseline_decay
        self.network: LearnedBaseline | None = None

    def connect(self, p: GenerativeModel, q: RecognitionModel) -> None:
        """Make the learned baseline's network."""
        if self.baseline == "learned":
            self.network = LearnedBaseline(p.data_shape, self.baseline_hidden, self.baseline_decay)

    def estimate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        posterior, prior = q(x), p.prior()
        z = posterior.sample(torch.Size((self.num_samples,)))
        log_likelihood, log_prior, log_q = p.likelihood(z).log_prob(x), prior.log_prob(z), posterior.log_prob(z)
        kl = analytic_kl(posterior, prior, self.kl)
        if kl is None:
            kl = log_q.detach() - log_prior  # the gradient of log q itself, the score, has mean zero
        kl = kl.expand_as(log_likelihood)
        f = log_likelihood - kl
        centred, baseline_loss, extras = self.centre(f.detach(), x)
        loss = surrogate(-f.mean(), gradient_of=baseline_loss - (f + centred * log_q).mean())
        return Estimate(loss, f.mean(0), log_likelihood.mean(0), kl.mean(0), extras)

    def centre(self, f: Tensor, x: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """f − b, what the baseline itself minimises, and what is logged of it: f (L, B), x (B, *data_shape)."""
        nothing = f.new_zeros(())
        if self.baseline == "none":
            return f, nothing, {}
        if self.baseline == "leave_one_out":
            centred = (f - f.mean(0)) * (self.num_samples / (self.num_samples - 1))
            return centred, nothing, {"baseline_error": centred.square()}
        if self.network is None:
            raise RuntimeError("objective.baseline=learned needs objective.connect(p, q) first")
        residual, scale = self.network(x, f)
        centred = (scale * residual).detach()
        return centred, 0.5 * residual.square().mean(), {"baseline_error": centred.square()}


class LearnedBaseline(nn.Module):
    """b(x) = m + s n(x), with running averages m and s of the mean and standard deviation of f.

    The last layer of n starts at zero. A step's b uses the averages of the steps before it, so it does not depend on
    the step's own draws.
    """

    average: Tensor
    average_square: Tensor
    weight: Tensor

    def __init__(self, data_shape: tuple[int, ...], hidden: int, decay: float) -> None:
        super().__init__()
        backbone = MLP(data_shape, [hidden], "tanh")
        head = nn.Linear(hidden, 1)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        self.layers = nn.Sequential(backbone, head)
        self.decay = decay
        for name in ("average", "average_square", "weight"):
            self.register_buffer(name, torch.zeros(()))

    def forward(self, x: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
        """(f − m)/s − n(x), (L, B), and s, (); then the averages take in f (L, B)."""
        mean, scale = self.statistics()
        residual = (f - mean) / scale - cast(Tensor, self.layers(x)).squeeze(-1)
        with torch.no_grad():
            average, average_square = means_over_processes([f.mean(), f.square().mean()])
            self.average.lerp_(average, 1 - self.decay)
            self.average_square.lerp_(average_square, 1 - self.decay)
            self.weight.lerp_(torch.ones_like(self.weight), 1 - self.decay)
        return residual, scale

    def statistics(self) -> tuple[Tensor, Tensor]:
        """m and s; 0 and 1 before the first step."""
        seen = self.weight > 0
        weight = torch.where(seen, self.weight, torch.ones_like(self.weight))
        mean = self.average / weight
        variance = (self.average_square / weight - mean.square()).clamp(min=1e-6)
        return mean, torch.where(seen, variance.sqrt(), torch.ones_like(variance))
