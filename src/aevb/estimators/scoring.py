"""log p(x|z) for many z, at the speed of the decoder's matrix products."""

from collections.abc import Callable
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn

from aevb.likelihoods import Bernoulli
from aevb.networks import MLPDecoder
from aevb.vae import GenerativeModel

LogLikelihood = Callable[[Tensor], Tensor]
"""z (S, B, latent_dim) → log p(x|z) in nats, (S, B)."""


@lru_cache(maxsize=1)
def scratch(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Reused memory, as allocating it costs more than a pass over it."""
    with torch.inference_mode(False):
        return torch.empty(size, dtype=dtype, device=device)


def log_likelihood(p: GenerativeModel, x: Tensor) -> LogLikelihood:
    """log p(x|·) for x (B, *data_shape), without gradients: by `BernoulliMLP` or the model's distribution."""
    is_mlp = type(p.decoder) is MLPDecoder and p.condition is None
    if is_mlp and type(p.head) is Bernoulli and isinstance(p.head.layer, nn.Linear):
        return BernoulliMLP(p, cast(MLPDecoder, p.decoder).layers, p.head.layer, x)
    return lambda z: p.likelihood(z).log_prob(x)


class BernoulliMLP:
    """Σ_i x_i log y_i + (1 − x_i) log(1 − y_i) with y = sigmoid(a), a = W h + b, in few passes over a.

    It is xᵀa − Σ_i log(1 + e^a_i). The first term is (Wᵀx)ᵀh + bᵀx, which needs no a. The second is a sum of logarithms
    of products of up to four terms; if a product overflows, the distribution's own formula is used.
    """

    def __init__(self, p: GenerativeModel, layers: nn.Sequential, layer: nn.Linear, x: Tensor) -> None:
        self.p, self.layers, self.x = p, layers, x
        # The bias is the weight of a constant feature, as adding it would take a pass over a.
        self.weight = torch.cat([layer.weight, layer.bias.unsqueeze(1)], dim=1)
        self.weight_x = x.flatten(1).to(self.weight) @ self.weight

    def __call__(self, z: Tensor) -> Tensor:
        pixels, features = self.weight.shape
        rows = z.shape[0] * z.shape[1]
        memory = scratch(rows * (features + pixels), self.weight.dtype, self.weight.device)
        a, h = memory[: rows * pixels].view(rows, pixels), memory[rows * pixels :].view(rows, features)
        h[:, -1] = 1
        self.write_features(z.flatten(0, 1), h[:, :-1])
        linear = torch.einsum("sbh,bh->sb", h.unflatten(0, z.shape[:2]), self.weight_x)
        log_normalizer = sum_log1p_exp(torch.mm(h, self.weight.T, out=a)).view_as(linear)
        if not bool(log_normalizer.isfinite().all()):
            return self.p.likelihood(z).log_prob(self.x)
        return linear.sub_(log_normalizer)

    def write_features(self, z: Tensor, h: Tensor) -> None:
        """Write the decoder's output h (R, hidden) for z (R, latent_dim)."""
        *body, last = [*self.layers] or [nn.Identity()]
        for part in body:
            z = part(z)
        if isinstance(last, nn.Tanh):
            torch.tanh(z, out=h)
        else:
            h.copy_(last(z))


def sum_log1p_exp(a: Tensor) -> Tensor:
    """Σ_i log(1 + e^a_i) over the last dimension; overwrites `a`."""
    e = a.exp_()
    if e.shape[1] % 2:
        return e.log1p_().sum(-1)
    left, right = e.chunk(2, dim=1)
    terms = left.add_(1).addcmul_(left, right)
    if terms.shape[1] % 2 == 0:
        left, right = terms.chunk(2, dim=1)
        terms = left.mul_(right)
    return terms.log_().sum(-1)
