"""The coder of `Compress` of models with discrete codes."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from aevb.distributions.sequence import Autoregressive
from aevb.priors import Codes
from aevb.tasks.coder import Coder, Numbers, Symbols


class CodeCoder(Coder):
    """A coder of models with discrete codes, z = [e_{k_1}, …, e_{k_N}].

    As q(z|x) has one value, nothing is to be had back: x is encoded by p(x|z), then its codes by p(k_n | k_<n). The
    growth is −log₂ p(x|z) − log₂ p(k), the negative ELBO in bits.
    """

    @torch.no_grad()
    def push(self, stack: Any, x: Symbols, index: int) -> None:
        vae, rows = self.given(index), []
        codes = vae.q(self.values(x).reshape(1, *vae.p.data_shape)).codes[0].tolist()

        def known(place: int, p: Numbers) -> int:
            rows.append(p)
            return int(codes[place])

        z = self.latents(known)
        stack.encode_reverse(x, self.categorical, self.p_of_x(vae.p, z))
        stack.encode_reverse(np.array(codes, np.int32), self.categorical, np.concatenate(rows))

    @torch.no_grad()
    def pop(self, stack: Any, index: int) -> Symbols:
        vae = self.given(index)
        z = self.latents(lambda place, p: int(stack.decode(self.categorical, p)[0]))
        x: Symbols = stack.decode(self.categorical, self.p_of_x(vae.p, z))
        return x

    def latents(self, choose: Callable[[int, Numbers], int]) -> Tensor:
        """z (1, 1, latent_dim) of the codes that are chosen by place and p(k_n | k_<n), (1, K), one after the other.

        A pass over all places would give other last bits of the probabilities than decoding has.
        """
        prior = cast(Codes, self.vae.p.prior)
        p, codes, before, state = prior.of_codes(), [], prior.start.reshape(1), None
        for place in range(prior.num):
            if isinstance(p, Autoregressive):
                conditional, state = p.step(before, place, state)
                logits = conditional.logits  # type: ignore[attr-defined]
            else:
                logits = prior.equal[:1]
            codes.append(choose(place, logits.double().softmax(-1).cpu().numpy()))
            before = torch.full_like(before, codes[-1])
        return prior.quantizer.vectors(torch.tensor(codes, device=before.device)).reshape(1, 1, -1)
