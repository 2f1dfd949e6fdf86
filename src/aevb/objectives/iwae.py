"""The importance weighted bound and its gradient estimators."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from aevb.distributions.kl import rsample_and_log_prob
from aevb.objectives.base import Estimate, Objective, frozen, surrogate
from aevb.types import Share, Size
from aevb.vae import GenerativeModel, RecognitionModel

Gradient = Literal["reparameterized", "dreg", "stl"]

DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


class IWAE(Objective):
    """The negative importance weighted bound, log 1/K Σ_k w_k with w_k = p(x, z_k) / q(z_k|x), z_k ~ q(z|x).

    In expectation it lies between the ELBO, which it is for K = 1, and log p(x), which it tends to as K grows.

    With w̃_k = w_k / Σ_j w_j, the gradient for θ is Σ_k w̃_k ∇_θ log w_k. The gradient for φ is one of

    - `reparameterized`: Σ_k w̃_k ∇_φ log w_k, through z_k and through the density of q. Unbiased.
    - `dreg`: Σ_k w̃_k² ∂log w_k/∂z_k ∇_φ z_k, doubly reparameterized. Unbiased; its signal-to-noise ratio does not fall
      as K grows, unlike that of the others.
    - `stl`: Σ_k w̃_k ∂log w_k/∂z_k ∇_φ z_k, "sticking the landing": without the score ∇_φ log q. For K = 1 it is
      unbiased, and its variance vanishes as q tends to the exact posterior; for K > 1 it is biased.

    The last two evaluate the encoder a second time, with its weights frozen, and those of θ that it shares.

    With M groups of K samples the bound is the mean of those of the groups (MIWAE): its expectation is that of K
    samples, and the variance of its gradient falls as 1 / M. With a weight β of the ELBO of the same samples, the loss
    is −β ELBO − (1 − β) bound (CIWAE). With `bound_of_p="all"`, θ has the gradient of the bound of all M K samples, the
    tightest, and φ that of the groups, the least noisy (PIWAE); the decoder is then evaluated a second time, and the
    value of the loss is that for φ.

    Sources: Burda et al. (2016), eq. 8 and 14; Tucker et al. (2019), eq. 8; Roeder et al. (2017); MIWAE, PIWAE and
    CIWAE: Rainforth et al. (2018).

    Args:
        num_samples: K, samples of z per datapoint and group.
        gradient: `reparameterized`, `dreg` or `stl`.
        num_groups: M.
        elbo_weight: β, from 0, IWAE, to 1, the ELBO; above 0 not with `dreg`, which is derived for the bound alone.
        bound_of_p: For θ, the bound of the `groups` or of `all` their samples; one group is the same either way.
        weight_prior: See `Objective`.

    Logged in addition: `iwae`, the bound, in training as in validation and test. `elbo` is the ELBO from the same
    samples, with a sampled KL, so that it is never above the bound.
    """

    def __init__(
        self,
        num_samples: Size = 5,
        gradient: Gradient = "reparameterized",
        num_groups: Size = 1,
        elbo_weight: Share = 0.0,
        bound_of_p: Literal["groups", "all"] = "groups",
        weight_prior: bool = True,
    ) -> None:
        super().__init__(weight_prior)
        if elbo_weight and gradient == "dreg":
            raise ValueError(
                f"elbo_weight must be 0 with gradient=dreg, got {elbo_weight}; use gradient=reparameterized or stl"
            )
        self.num_samples = num_samples
        self.gradient = gradient
        self.num_groups = num_groups
        self.elbo_weight = elbo_weight
        self.bound_of_p = bound_of_p

    def connect(self, p: GenerativeModel, q: RecognitionModel) -> None:
        """Check that q(z|x) is the same when `draw` computes it again."""
        if self.gradient != "reparameterized" and any(isinstance(m, DROPOUT) and m.p > 0 for m in q.modules()):
            raise ValueError(
                f"objective IWAE computes q(z|x) twice with gradient={self.gradient}, and dropout differs in between; "
                "use gradient=reparameterized, or no dropout in the encoder"
            )

    def estimate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        z, log_q = self.draw(p, q, x, self.gradient)
        if self.bound_of_p == "groups" or self.num_groups == 1:
            return self.bound(p, x, z, log_q, self.gradient)
        with frozen(p):
            of_q = self.bound(p, x, z, log_q, self.gradient)
        with frozen(q):  # a prior may be defined by q
            log_weights = p.log_joint(x, z.detach()) - log_q.detach()
        loss_of_p = self.loss(log_weights.mean(0), log_weights.logsumexp(0))
        return of_q._replace(loss=surrogate(of_q.loss, gradient_of=of_q.loss + loss_of_p))

    def evaluate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        """The true ELBO and, as `iwae`, the importance weighted bound."""
        return self.bound(p, x, *self.draw(p, q, x, "reparameterized"), "reparameterized")

    def draw(self, p: GenerativeModel, q: RecognitionModel, x: Tensor, gradient: Gradient) -> tuple[Tensor, Tensor]:
        """z (M · K, B, latent_dim), the samples of a group in a row, and log q(z|x) with the score or without it."""
        posterior, count = q(x), self.num_groups * self.num_samples
        if gradient == "reparameterized":
            return rsample_and_log_prob(posterior, (count,))
        z = posterior.rsample(torch.Size((count,)))
        with frozen(q), frozen(p):  # q may be defined by the prior's network, as with several layers
            return z, q(x).log_prob(z)

    def bound(self, p: GenerativeModel, x: Tensor, z: Tensor, log_q: Tensor, gradient: Gradient) -> Estimate:
        """The bound by M groups of K samples, with one of the gradients for φ."""
        groups = (self.num_groups, self.num_samples)
        prior = p.prior()
        log_likelihood = p.likelihood(z).log_prob(x)
        log_ratio = log_q - prior.log_prob(z)
        log_weights = log_likelihood - log_ratio
        elbo = log_weights.mean(0)
        iwae = log_weights.unflatten(0, groups).logsumexp(1).mean(0) - math.log(self.num_samples)
        loss = self.loss(elbo, iwae)
        if gradient == "dreg" and z.requires_grad:
            # The surrogate weights all gradients by w̃, and the hook those through z once more: w̃² for φ.
            normalized = log_weights.detach().unflatten(0, groups).softmax(1).flatten(0, 1)
            z.register_hook(lambda gradient_of_z: normalized.unsqueeze(-1) * gradient_of_z)
            loss = surrogate(loss, gradient_of=-(normalized * log_weights).sum(0).mean() / self.num_groups)
        return Estimate(loss, elbo, log_likelihood.mean(0), log_ratio.mean(0), {"iwae": iwae})

    def loss(self, elbo: Tensor, bound: Tensor) -> Tensor:
        """−β ELBO − (1 − β) bound, averaged over the minibatch, ()."""
        loss = -bound.mean()
        return (1 - self.elbo_weight) * loss - self.elbo_weight * elbo.mean() if self.elbo_weight else loss
