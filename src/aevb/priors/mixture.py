"""Mixtures as priors: learned Gaussians, and the posteriors of learned pseudo-inputs."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution

from aevb.distributions.gaussian import diagonal_gaussian
from aevb.distributions.mixture import Mixture
from aevb.networks import condition_shape_of
from aevb.priors.base import Prior
from aevb.types import Size


class MixtureOfGaussians(Prior):
    """p(z) = Σ_k π_k N(z; μ_k, diag σ_k²); π, μ and σ are learned with the decoder.

    It starts with π_k = 1/K, σ_k² = ½ and μ_k ~ N(0, ½ I), so that the mixture has unit variance. Where the objective
    has the weight prior p(θ) = N(0, I) on, it covers the logits of π, μ and log σ² like all other generative weights.

    Source: Dilokthanakul et al. (2016), arXiv 1611.02648, and Tomczak & Welling (2018), section 2, as a baseline.

    Args:
        num_components: K.
    """

    def __init__(self, latent_dim: int, num_components: Size = 10) -> None:
        super().__init__(latent_dim)
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.means = nn.Parameter(math.sqrt(0.5) * torch.randn(num_components, latent_dim))
        self.log_variances = nn.Parameter(torch.full((num_components, latent_dim), math.log(0.5)))

    def forward(self) -> Distribution:
        weights = Categorical(logits=self.logits, validate_args=False)
        return Mixture(weights, diagonal_gaussian(self.means, self.log_variances), validate_args=False)


class VampPrior(Prior):
    """p(z) = 1/K Σ_k q_φ(z|u_k), where the pseudo-inputs u_k = a + (b − a) sigmoid(v_k) are learned.

    They have the shape of the data, and their range [a, b]: [0, 1] until `adapt_to` is called.

    The best prior for the bound is the aggregated posterior 1/N Σ_i q(z|x_i); the pseudo-inputs stand in for the data.
    It depends on φ, so that its gradient reaches the recognition model too. The source clips the pseudo-inputs to
    [0, 1], where the gradient of a clipped value is zero; the sigmoid's is not. They start as grey noise, v ~ N(0, I),
    and the weight prior p(θ) = N(0, I) covers v like all other generative weights.

    `forward` encodes the K pseudo-inputs; a density costs K densities of q. As the prior of the top layer of several it
    is the mixture of q_φ(z_L|u_k), where q draws z_L first.

    Source: Tomczak & Welling (2018), VAE with a VampPrior, arXiv 1705.07120, eq. 9.

    Args:
        num_components: K.
    """

    range: Tensor

    def __init__(self, latent_dim: int, num_components: Size = 500) -> None:
        super().__init__(latent_dim)
        self.num_components = num_components
        self.register_buffer("range", torch.tensor([0.0, 1.0]))
        # In a tuple, q is no submodule: its parameters remain those of the recognition model alone.
        self._recognition: tuple[nn.Module, ...] = ()

    def connect(self, p: Any, q: Any) -> None:
        """Take q and make the pseudo-inputs, whose shape it knows.

        Raises:
            ValueError: this is the prior of a layer whose marginal under q has no closed form.
        """
        if condition_shape_of(q) is not None:
            raise ValueError("prior VampPrior encodes pseudo-inputs without conditions, which the encoder takes")
        if q.head.latent_dim != self.latent_dim and getattr(q.head, "order_is_upwards", True):
            raise ValueError(
                f"prior.top: the VampPrior needs q(z_L|x), which has no closed form for {type(q.head).__name__}, as it "
                "draws z_L last; use model=ladder, top_down or another prior"
            )
        self._recognition, self.support = (q,), q.head.support
        self.logit_inputs = nn.Parameter(torch.randn(self.num_components, *q.data_shape))

    def adapt_to(self, lowest: float, highest: float) -> None:
        """Take the range of the training data; called before training."""
        self.range.copy_(torch.tensor([lowest, highest]))

    @torch.no_grad()
    def start_at(self, x: Tensor) -> None:
        """Let the pseudo-inputs start at datapoints drawn from x (N, *data_shape), moved 5 % off the ends of the range.

        For a recognition model that is trained already, grey noise is no start: it lies far from all data.
        """
        lowest, highest = self.range
        chosen = x[torch.randint(len(x), (self.num_components,), device=x.device)].to(self.range)
        self.logit_inputs.copy_(((chosen - lowest) / (highest - lowest)).clamp(0.05, 0.95).logit())

    def pseudo_inputs(self) -> Tensor:
        """u (num_components, *data_shape), within the range of the data."""
        lowest, highest = self.range
        return lowest + (highest - lowest) * torch.sigmoid(self.logit_inputs)

    def forward(self) -> Distribution:
        if not self._recognition:
            raise RuntimeError("VampPrior needs the recognition model: call connect(p, q) first, as aevb.vae.VAE does")
        components = self._recognition[0](self.pseudo_inputs())
        if components.event_shape[0] != self.latent_dim:
            components = components.first
        uniform = Categorical(logits=self.logit_inputs.new_zeros(self.num_components), validate_args=False)
        return Mixture(uniform, components, validate_args=False)
