"""The multinomial likelihood, of documents as counts of words."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from aevb.distributions.multinomial import MultinomialDistribution
from aevb.likelihoods.base import Likelihood
from aevb.types import Size


class Multinomial(Likelihood):
    """P(x|z, n) = n! Π_i π_i^x_i / x_i!, the counts of n = Σ_i x_i words, given n; π = softmax f(z) over all values.

    With `mixture`, π = Σ_k z_k softmax(w_k): topics of words w_k, mixed by z on the simplex. With the Dirichlet prior
    that is latent Dirichlet allocation with learned topics; without `mixture`, z mixes their logits (ProdLDA).

    Sources: Blei, Ng & Jordan (2003), Latent Dirichlet allocation; Srivastava & Sutton (2017), Autoencoding variational
    inference for topic models, arXiv 1703.01488; Liang et al. (2018), arXiv 1802.05814, for items in place of words.

    Args:
        mixture: Mix probabilities, not logits.
        length: n of documents that are drawn; data are scored given their own n.
    """

    support = constraints.nonnegative_integer

    def __init__(
        self, in_shape: Sequence[int], data_shape: Sequence[int], mixture: bool = False, length: Size = 100
    ) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=1)
        self.mixture, self.length = mixture, length

    def connect(self, p: Any, q: Any) -> None:
        """Check that a mixture has its weights.

        Raises:
            ValueError: z is not on the simplex, or the decoder changes it.
        """
        is_bare = isinstance(self.layer, nn.Linear) and not list(p.decoder.parameters())
        if self.mixture and not (p.prior.support == "on the simplex" and is_bare):
            raise ValueError(
                "likelihood Multinomial with mixture=true mixes topics by z itself: it needs a prior on the simplex, "
                "model/prior=dirichlet, and a decoder without layers, model.decoder.hidden=[]"
            )

    def project(self, h: Tensor) -> tuple[Tensor, ...]:
        """log π (S, B, *data_shape)."""
        if not self.mixture:
            logits = self.output(h).squeeze(-1 - len(self.data_shape))
            return (logits.flatten(-len(self.data_shape)).log_softmax(-1).view_as(logits),)
        shares = h.to(self.layer.weight.dtype) @ self.log_topics().exp()
        log_probs = shares.clamp(min=torch.finfo(shares.dtype).tiny).log()
        return (log_probs.unflatten(-1, self.data_shape),)

    def log_topics(self) -> Tensor:
        """log probabilities of all words under each topic, (topics, words)."""
        assert self.layer.bias is not None
        return (self.layer.weight.T + self.layer.bias).log_softmax(-1)

    def distribution(self, log_probs: Tensor) -> Distribution:
        return MultinomialDistribution(log_probs, len(self.data_shape), self.length)
