"""log p(x|z) for very many z, as fast as the decoder's matrix products."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from aevb.likelihoods import Bernoulli
from aevb.model import GenerativeModel
from aevb.networks import MLPDecoder

LogLikelihood = Callable[[Tensor], Tensor]
"""z (S, B, latent_dim) → log p(x|z) in nats, (S, B)."""

HALVINGS = 2
"""How often sigmoids are multiplied in pairs before a logarithm is taken; the product of four hardly underflows."""


def log_likelihood(p: GenerativeModel, x: Tensor) -> LogLikelihood:
    """log p(x|·) for x (B, *data_shape); for values alone, no gradients.

    Of an MLP with Bernoulli outputs it is computed by `BernoulliMLP`, of any other model by its distribution.
    """
    if type(p.head) is Bernoulli and type(p.decoder) is MLPDecoder and isinstance(p.head.layer, nn.Linear):
        return BernoulliMLP(p, p.decoder.layers, p.head.layer, x)
    return lambda z: p.likelihood(z).log_prob(x)


class BernoulliMLP:
    """Σ_i x_i log y_i + (1 − x_i) log(1 − y_i) with y = sigmoid(a), a = W h + b, in few passes over a.

    It is xᵀa + Σ_i log sigmoid(−a_i). The first term is (Wᵀx)ᵀh + bᵀx, which needs no a. The second is logarithms of
    products of four sigmoids each; where a product underflows, the distribution's own formula is used.
    """

    def __init__(self, p: GenerativeModel, layers: nn.Sequential, layer: nn.Linear, x: Tensor) -> None:
        self.p, self.layers, self.layer, self.x = p, layers, layer, x
        flat = x.flatten(1).to(layer.weight)
        self.weight_x = flat @ layer.weight
        self.bias_x = flat @ layer.bias
        self.buffer = torch.empty(0)

    def __call__(self, z: Tensor) -> Tensor:
        h = self.features(z)
        linear = torch.einsum("sbh,bh->sb", h, self.weight_x) + self.bias_x
        factors = self.negative(h.flatten(0, 1)).sigmoid_()
        for _ in range(HALVINGS):
            if factors.shape[1] % 2 == 0:
                left, right = factors.chunk(2, dim=1)
                factors = left.mul_(right)
        log_normalizer = factors.log().sum(-1).view_as(linear)
        if not bool(log_normalizer.isfinite().all()):
            return self.p.likelihood(z).log_prob(self.x)
        return linear.add_(log_normalizer)

    def negative(self, h: Tensor) -> Tensor:
        """−a for features h (R, hidden), in memory that is used again: fresh memory costs more than a pass over it."""
        shape = (len(h), self.layer.out_features)
        if self.buffer.shape != shape:
            self.buffer = h.new_empty(shape)
        return torch.addmm(self.layer.bias, h, self.layer.weight.T, beta=-1, alpha=-1, out=self.buffer)

    def features(self, z: Tensor) -> Tensor:
        """The decoder's body, its tanh in place."""
        h = z.flatten(0, 1)
        for part in self.layers:
            h = h.tanh_() if isinstance(part, nn.Tanh) else part(h)
        return h.view(*z.shape[:2], -1)
