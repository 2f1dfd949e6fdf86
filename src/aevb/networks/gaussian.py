"""A network whose output is a Gaussian."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.distributions.gaussian import diagonal_gaussian
from aevb.networks.base import Activation
from aevb.networks.mlp import MLP


class GaussianMLP(nn.Module):
    """N(z; μ(h), diag σ²(h)), μ and log σ² linear in the features of an `MLP` (appendix C.2 of the paper).

    Shapes: h (..., in_features) → batch (...), event (out_features,).

    Args:
        in_features: Size of the input.
        out_features: Dimensions of the Gaussian.
        hidden: Units of each hidden layer; none: linear in the input.
        activation: A name from `aevb.networks.ACTIVATIONS`.
    """

    def __init__(
        self, in_features: int, out_features: int, hidden: Sequence[int], activation: Activation = "tanh"
    ) -> None:
        super().__init__()
        self.mlp = MLP((in_features,), hidden, activation)
        self.layer = nn.Linear(self.mlp.out_shape[0], 2 * out_features)

    def parameters_of(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ², (..., out_features) each, in float32 at least."""
        raw = self.layer(self.mlp(h.to(self.layer.weight.dtype)))
        mean, log_variance = raw.to(torch.promote_types(raw.dtype, torch.float32)).chunk(2, dim=-1)
        return mean, log_variance

    def forward(self, h: Tensor) -> Distribution:
        return diagonal_gaussian(*self.parameters_of(h))
