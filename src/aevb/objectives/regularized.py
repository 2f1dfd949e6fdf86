"""The ELBO with a penalty on the aggregate posterior q(z) = 1/N Σ_n q(z|x_n): β-TC-VAE, DIP-VAE and InfoVAE."""

import math
from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from aevb.distributions.kl import KLEstimator, distribution_name, factorized, sample_and_kl_terms
from aevb.distributions.sequence import Steps
from aevb.objectives.base import Estimate, Objective
from aevb.types import NonNegative, Positive, Size
from aevb.vae import GenerativeModel, RecognitionModel

Penalty = tuple[Tensor, dict[str, Tensor]]
"""What is added to −ELBO, (), and what is logged of it."""


class Regularized(Objective):
    """The negative ELBO of `SGVB` plus a penalty; the reported ELBO has no penalty.

    Args:
        num_samples: L, samples of z per datapoint.
        kl: As of `SGVB`.
        weight_prior: See `Objective`.
    """

    def __init__(self, num_samples: Size = 1, kl: KLEstimator = "auto", weight_prior: bool = True) -> None:
        super().__init__(weight_prior)
        self.num_samples = num_samples
        self.kl = kl

    def estimate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        posterior, prior = q(x), p.prior()
        z, kl, blocks = sample_and_kl_terms(posterior, prior, self.num_samples, self.kl)
        log_likelihood = p.likelihood(z).log_prob(x).mean(0)
        bound = log_likelihood - kl
        penalty, extras = self.penalty(posterior, prior, z, kl)
        return Estimate(penalty - bound.mean(), bound, log_likelihood, kl, blocks | extras)

    @abstractmethod
    def penalty(self, posterior: Distribution, prior: Distribution, z: Tensor, kl: Tensor) -> Penalty:
        """The penalty, from draws z (L, B, D) of the posterior and KL(q(z|x) ‖ p(z)) (B,)."""


class BetaTCVAE(Regularized):
    """The loss −E_q[log p(x|z)] + α MI + β TC + γ DKL, where the KL of the ELBO, averaged over the data, is their sum.

        MI = E[log q(z|x) − log q(z)]          the mutual information of x and z
        TC = E[log q(z) − Σ_j log q(z_j)]      the total correlation of the dimensions of z
        DKL = E[Σ_j log q(z_j) − log p(z)]     the KL of each dimension, summed, for a prior that factorizes

    q(z) is estimated at z ~ q(z|x_n) by Σ_m w_m q(z|x_m) over the minibatch of B datapoints, with w_n = 1/N and
    w_m = (N − 1) / (N (B − 1)) for the others. That is unbiased for q(z), and exact for B = N; its logarithm is biased
    downwards. What the weights α, β and γ leave of the KL is that of `SGVB`, to which the objective is equal for
    α = β = γ = 1.

    Source: Chen et al. (2018); the estimator is the minibatch stratified one of appendix C.2, with equal
    weights for the others, which has the same mean.

    Args:
        num_samples: L, samples of z per datapoint.
        kl: As of `SGVB`.
        alpha: α, the weight of the mutual information.
        beta: β, the weight of the total correlation.
        gamma: γ, the weight of the KL of the dimensions.
        weight_prior: See `Objective`.

    Logged in addition: `mutual_information`, `total_correlation`, `dimension_wise_kl`; their sum is the sampled KL.
    """

    def __init__(
        self,
        num_samples: Size = 1,
        kl: KLEstimator = "auto",
        alpha: NonNegative = 1.0,
        beta: NonNegative = 6.0,
        gamma: NonNegative = 1.0,
        weight_prior: bool = True,
    ) -> None:
        super().__init__(num_samples, kl, weight_prior)
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma

    def penalty(self, posterior: Distribution, prior: Distribution, z: Tensor, kl: Tensor) -> Penalty:
        q = require_factorized(posterior, "tc")
        log_q = q.log_prob(z.unsqueeze(2))  # (L, B of z, B of x, D)
        log_q_given_x = log_q.sum(-1).diagonal(dim1=1, dim2=2)
        log_weights = stratified_log_weights(log_q, self.training_set_size("BetaTCVAE"))
        log_joint = (log_q.sum(-1) + log_weights).logsumexp(2)
        log_product = (log_q + log_weights.unsqueeze(-1)).logsumexp(2).sum(-1)
        terms = {
            "mutual_information": (log_q_given_x - log_joint).mean(0),
            "total_correlation": (log_joint - log_product).mean(0),
            "dimension_wise_kl": (log_product - prior.log_prob(z)).mean(0),
        }
        weights = (self.alpha, self.beta, self.gamma)
        charges = [(weight - 1) * term.mean() for weight, term in zip(weights, terms.values(), strict=True)]
        return torch.stack(charges).sum(), terms


def stratified_log_weights(like: Tensor, num_data: int) -> Tensor:
    """log w (B, B) for a minibatch, like (L, B, B, D): 1/N on the diagonal, (N − 1) / (N (B − 1)) elsewhere."""
    batch = like.shape[1]
    if batch == 1:
        return like.new_zeros(1, 1)
    num_data = max(num_data, batch)
    others = math.log((num_data - 1) / (num_data * (batch - 1)))
    return like.new_full((batch, batch), others).fill_diagonal_(-math.log(num_data))


class DIPVAE(Regularized):
    """The loss −ELBO + λ_od Σ_{i≠j} C_ij² + λ_d Σ_i (C_ii − 1)², which presses a covariance C towards the identity.

    C is Cov_x[μ(x)] of the posterior means in the first variant, and in the second that of q(z),
    Cov_x[μ(x)] + E_x[diag σ²(x)], both over the minibatch, with the factor 1/B. With λ_od = λ_d = 0 it is `SGVB`.

    Source: Kumar, Sattigeri & Balakrishnan (2018), eq. 6 and 7.

    Args:
        num_samples: L, samples of z per datapoint.
        kl: As of `SGVB`.
        covariance: `means` for DIP-VAE-I, `marginal` for DIP-VAE-II.
        off_diagonal: λ_od.
        diagonal: λ_d.
        weight_prior: See `Objective`.

    Logged in addition: `covariance_off_diagonal` and `covariance_diagonal`, the two sums without their weights.
    """

    def __init__(
        self,
        num_samples: Size = 1,
        kl: KLEstimator = "auto",
        covariance: Literal["means", "marginal"] = "marginal",
        off_diagonal: NonNegative = 10.0,
        diagonal: NonNegative = 10.0,
        weight_prior: bool = True,
    ) -> None:
        super().__init__(num_samples, kl, weight_prior)
        self.covariance = covariance
        self.off_diagonal = off_diagonal
        self.diagonal = diagonal

    def penalty(self, posterior: Distribution, prior: Distribution, z: Tensor, kl: Tensor) -> Penalty:
        q = require_factorized(posterior, "dip")
        centred = q.mean - q.mean.mean(0)
        covariance = centred.T @ centred / len(centred)
        variances = covariance.diagonal()
        off_diagonal = covariance.square().sum() - variances.square().sum()
        if self.covariance == "marginal":
            variances = variances + q.variance.mean(0)
        diagonal = (variances - 1).square().sum()
        terms = {"covariance_off_diagonal": off_diagonal, "covariance_diagonal": diagonal}
        return self.off_diagonal * off_diagonal + self.diagonal * diagonal, terms


class InfoVAE(Regularized):
    """The loss −E_q[log p(x|z)] + w_KL KL + w_MMD MMD²(q(z), p(z)).

    In the paper's terms w_KL = 1 − α and w_MMD = α + λ − 1. MMD² is the squared maximum mean discrepancy, estimated
    without bias, so that it may be negative, from the z_n of the minibatch and as many draws z'_n of the prior:

        MMD² = 1/(B(B−1)) Σ_{n≠m} [k(z_n, z_m) + k(z'_n, z'_m)] − 2/B² Σ_{n,m} k(z_n, z'_m)

    The kernel k is exp(−r) or 1 / (1 + r), with r = ‖z − z'‖² / 2h². The prior is its fixed target: a learned one is
    trained by the KL alone. With w_KL = 1 and w_MMD = 0 it is `SGVB`; with w_KL = 0 the MMD-VAE.

    Source: Zhao, Song & Ermon (2017); the estimator: Gretton et al. (2012), eq. 3; the inverse multiquadratic
    kernel: Tolstikhin et al. (2018).

    Args:
        num_samples: L, samples of z per datapoint.
        kl: As of `SGVB`.
        kl_weight: w_KL.
        mmd_weight: w_MMD.
        kernel: `rbf`, exp(−r), or `imq`, the inverse multiquadratic 1 / (1 + r).
        bandwidth: h; none: √D, for the D dimensions of z.
        weight_prior: See `Objective`.

    Logged in addition: `mmd`, the estimate of MMD², unless its weight is 0.
    """

    def __init__(
        self,
        num_samples: Size = 1,
        kl: KLEstimator = "auto",
        kl_weight: NonNegative = 1.0,
        mmd_weight: NonNegative = 1000.0,
        kernel: Literal["rbf", "imq"] = "rbf",
        bandwidth: Positive | None = None,
        weight_prior: bool = True,
    ) -> None:
        super().__init__(num_samples, kl, weight_prior)
        self.kl_weight = kl_weight
        self.mmd_weight = mmd_weight
        self.kernel = kernel
        self.bandwidth = bandwidth

    def penalty(self, posterior: Distribution, prior: Distribution, z: Tensor, kl: Tensor) -> Penalty:
        if isinstance(posterior, Steps):
            raise ValueError("objective=info needs latent variables of one length, and those of sequences have several")
        penalty = (self.kl_weight - 1) * kl.mean()
        if not self.mmd_weight:  # without draws of the prior, so that the random numbers are those of SGVB
            return penalty, {}
        with torch.no_grad():
            target = prior.sample(z.shape[: -1 - len(prior.batch_shape)])
        mmd = squared_mmd(z, target, self.kernel, self.bandwidth or math.sqrt(z.shape[-1])).mean()
        return penalty + self.mmd_weight * mmd, {"mmd": mmd}


def squared_mmd(z: Tensor, target: Tensor, kernel: str, bandwidth: float) -> Tensor:
    """The unbiased estimate of MMD² from two samples (..., B, D) of equal size, (...); 0 for B = 1."""

    def k(a: Tensor, b: Tensor) -> Tensor:
        r = (a.unsqueeze(-2) - b.unsqueeze(-3)).square().sum(-1) / (2 * bandwidth**2)
        return (-r).exp() if kernel == "rbf" else 1 / (1 + r)

    batch = z.shape[-2]
    if batch == 1:
        return z.new_zeros(z.shape[:-2])
    within = (k(z, z) + k(target, target)).sum((-1, -2)) - 2 * batch  # k(z, z) = 1
    return within / (batch * (batch - 1)) - 2 * k(z, target).mean((-1, -2))


def require_factorized(posterior: Distribution, objective: str) -> Distribution:
    """The posterior of each dimension of z, batch (B, D).

    Raises:
        ValueError: The dimensions are not independent.
    """
    q = factorized(posterior)
    if q is None:
        raise ValueError(
            f"objective={objective} needs a posterior that factorizes over the dimensions of z, such as "
            f"model/posterior=diagonal_gaussian, got {distribution_name(posterior)}"
        )
    return q
