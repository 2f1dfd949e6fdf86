"""Posteriors of positive values, of values in (0, 1), and on the simplex.

Draws of gamma, beta and Dirichlet distributions are reparameterized implicitly, ∂z/∂φ = −(∂F/∂φ) / p(z), F the CDF
(Figurnov, Mohamed & Mnih 2018, arXiv 1805.08498); torch has these derivatives.
"""

from torch import Tensor
from torch.distributions import Beta as BetaDistribution
from torch.distributions import Dirichlet as DirichletDistribution
from torch.distributions import Distribution, Independent
from torch.distributions import Gamma as GammaDistribution

from aevb.distributions.gaussian import LogNormal as LogNormalDistribution
from aevb.distributions.support import concentration, exp_within
from aevb.posteriors.base import Posterior
from aevb.types import AtLeastTwo

MAX_LOG = 10.0
"""Bound of |E log z| of log-normal posteriors."""
MAX_DEVIATION = 3.0
"""Bound of the standard deviation of log z: draws are within e^±30, and the variance of z has a value in float32."""
MAX_RATE = 1e4
LEAST = 1e-4
"""Of rates and of standard deviations of log z."""


class LogNormal(Posterior):
    """q(z|x) = Π_j LogNormal(z_j; μ_j(x), σ_j(x)), sampled as z = exp(μ + σ ε), ε ~ N(0, I).

    μ and log σ are linear in the encoder's features, smoothly bounded: |μ| < 10, 10⁻⁴ < σ < 3.

    Source: Kingma & Welling (2013), section 2.4 (composition).
    """

    support = "positive"

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__(in_features, latent_dim, num_parameters=2 * latent_dim)

    def distribution(self, parameters: Tensor) -> Distribution:
        loc, log_scale = parameters.chunk(2, dim=-1)
        loc, scale = MAX_LOG * (loc / MAX_LOG).tanh(), exp_within(log_scale, LEAST, MAX_DEVIATION)
        return Independent(LogNormalDistribution(loc, scale, validate_args=False), 1, validate_args=False)


class Gamma(Posterior):
    """q(z|x) = Π_j Gamma(z_j; α_j(x), β_j(x)), of mean α / β and variance α / β².

    log α and log β are linear in the encoder's features, smoothly bounded: 0.1 < α < 10³, 10⁻⁴ < β < 10⁴.

    Source: Kingma & Welling (2013), section 2.4 (composition); gradients of Figurnov, Mohamed & Mnih (2018).
    """

    support = "positive"

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__(in_features, latent_dim, num_parameters=2 * latent_dim)

    def distribution(self, parameters: Tensor) -> Distribution:
        log_alpha, log_rate = parameters.chunk(2, dim=-1)
        alpha, rate = concentration(log_alpha), exp_within(log_rate, LEAST, MAX_RATE)
        return Independent(GammaDistribution(alpha, rate, validate_args=False), 1, validate_args=False)


class Beta(Posterior):
    """q(z|x) = Π_j Beta(z_j; α_j(x), β_j(x)), of mean α / (α + β).

    log α and log β are linear in the encoder's features, smoothly bounded: both from 0.1 to 10³.

    Source: Kingma & Welling (2013), section 2.4 (composition); gradients of Figurnov, Mohamed & Mnih (2018).
    """

    support = "in (0, 1)"

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__(in_features, latent_dim, num_parameters=2 * latent_dim)

    def distribution(self, parameters: Tensor) -> Distribution:
        alpha, beta = concentration(parameters).chunk(2, dim=-1)
        return Independent(BetaDistribution(alpha, beta, validate_args=False), 1, validate_args=False)


class Dirichlet(Posterior):
    """q(z|x) = Dirichlet(z; α(x)) ∝ Π_j z_j^(α_j − 1), of mean α / Σ_j α_j: z_j > 0 with the sum 1.

    log α is linear in the encoder's features, smoothly bounded: 0.1 < α_j < 10³.

    Source: Kingma & Welling (2013), section 2.4 (composition); gradients of Figurnov, Mohamed & Mnih (2018).
    """

    support = "on the simplex"

    def __init__(self, in_features: int, latent_dim: AtLeastTwo) -> None:
        super().__init__(in_features, latent_dim, num_parameters=latent_dim)

    def distribution(self, parameters: Tensor) -> Distribution:
        return DirichletDistribution(concentration(parameters), validate_args=False)
