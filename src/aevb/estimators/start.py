"""Initial distributions of Markov chains over z."""

from typing import Literal, get_args

import torch
from torch import Tensor

from aevb.distributions.support import require_real
from aevb.vae import VAE

StartKind = Literal["posterior", "prior"]
STARTS: tuple[StartKind, ...] = get_args(StartKind)


class Start:
    """q(z|x) for the kind `posterior`, p(z) for `prior`; x (B, *data_shape)."""

    def __init__(self, vae: VAE, x: Tensor, kind: StartKind) -> None:
        require_real(vae.p.prior.support, "Hamiltonian Monte Carlo", "estimators=[elbo,importance_sampling]")
        self.distribution = vae.q(x) if kind == "posterior" else vae.p.prior()
        self.batch = () if self.distribution.batch_shape else (len(x),)

    def sample(self, count: int) -> Tensor:
        """Draws (count, B, latent_dim)."""
        return torch.as_tensor(self.distribution.sample(torch.Size((count, *self.batch))))

    def log_prob(self, z: Tensor) -> Tensor:
        """z (S, B, latent_dim) → (S, B)."""
        return torch.as_tensor(self.distribution.log_prob(z))

    def step_size(self) -> Tensor:
        """A step size (B,) for HMC on a similar target: half the standard deviation of the narrowest dimension.

        Padding of sequences, which is drawn as 0, does not count.
        """
        deviation = self.sample(100).std(0)
        return 0.5 * torch.where(deviation > 0, deviation, torch.inf).amin(-1).clamp(1e-3)
