"""Posterior at one value of discrete codes."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.distributions.codes import PointMass
from aevb.errors import ConfigError
from aevb.posteriors.base import RecognitionHead
from aevb.types import NonNegative, Size


class Quantized(RecognitionHead):
    """q(z|x) = δ(z − [e_{k_1}, …, e_{k_N}]), k_n the code whose vector is the nearest to h_n, linear in the features.

    The KL is −log p(k), and the ELBO log p(x|z) + log p(k) ≤ log p(x): in true nats, as codes are discrete. z has the
    gradient of h (straight through). A training step adds β Σ_n ‖h_n − e_{k_n}‖² to −ELBO, which draws h to the
    vectors, and lets these, of the quantizer of the prior `Codes`, follow h.

    Features are N positions of in_features / N channels each, channels first, as maps (C, H, W) are.

    The KL has no gradient for h, unless `rate_temperature` τ is above 0. Then that is the gradient of the expected
    length of codes drawn from a soft assignment,

        −Σ_n Σ_k s_k(h_n) log p(k | k_<n),   s_k(h) ∝ exp(−‖h − e_k‖² / τ),

    so that the encoder prefers codes that the prior expects. The ELBO has the codes themselves.

    Sources: van den Oord, Vinyals & Kavukcuoglu (2017), arXiv 1711.00937, section 3; soft assignments: Agustsson et al.
    (2017), arXiv 1704.00648; the length under a learned p(k_n | k_<n) in the loss: Mentzer et al. (2018), arXiv
    1801.04260.

    Args:
        in_features: Size of the encoder's feature vector.
        latent_dim: N d.
        code_dim: d.
        commitment: β.
        rate_temperature: τ; 0: the KL has no gradient for h.

    Raises:
        ValueError: latent_dim is no multiple of code_dim, or in_features none of N.
    """

    support = "among codes"

    def __init__(
        self,
        in_features: int,
        latent_dim: Size,
        code_dim: Size,
        commitment: NonNegative = 0.25,
        rate_temperature: NonNegative = 0.0,
    ) -> None:
        super().__init__(in_features, latent_dim)
        if latent_dim % code_dim:
            raise ValueError(f"latent_dim must be a multiple of code_dim, {code_dim}, got {latent_dim}")
        self.code_dim, self.num, self.commitment = code_dim, latent_dim // code_dim, commitment
        self.rate_temperature = rate_temperature
        if in_features % self.num:
            raise ValueError(f"needs an encoder with features for each of {self.num} codes, got {in_features} features")
        self.layer = nn.Linear(in_features // self.num, code_dim)
        self._prior: tuple[Any, ...] = ()

    def connect(self, p: Any, q: Any) -> None:
        if not hasattr(p.prior, "quantizer"):
            raise ValueError(f"posterior Quantized needs model/prior=codes, got prior {type(p.prior).__name__}")
        if p.prior.code_dim != self.code_dim:
            raise ValueError(f"posterior.code_dim must be that of the prior, {p.prior.code_dim}, got {self.code_dim}")
        self._prior = (p.prior,)

    def follow(self, objective: Any) -> None:
        if not objective.auxiliary_losses:
            raise ConfigError(
                f"objective {type(objective).__name__} cannot train posterior Quantized, whose loss has a term beside "
                "the bound; use objective=sgvb"
            )

    def forward(self, h: Tensor) -> Distribution:
        h = self.layer(h.to(self.layer.weight.dtype).unflatten(-1, (-1, self.num)).transpose(-1, -2))
        quantizer = self._prior[0].quantizer
        with torch.autocast(h.device.type, enabled=False):
            h = h.to(torch.promote_types(h.dtype, torch.float32))
            z, codes = quantizer(h)
            softly = self.rate_temperature > 0 and torch.is_grad_enabled()
            shares = quantizer.shares(h, self.rate_temperature) if softly else None
        return PointMass(z.flatten(-2), codes, quantizer.num_codes, h, shares)

    def auxiliary_loss(self, posterior: Distribution) -> Tensor | None:
        assert isinstance(posterior, PointMass)
        quantizer, h, codes = self._prior[0].quantizer, posterior.features, posterior.codes
        with torch.autocast(h.device.type, enabled=False):
            distance = quantizer.distance(h, codes)
            if torch.is_grad_enabled():
                quantizer.update(h.detach(), codes)
        return None if distance is None else self.commitment * distance.sum(-1)
