"""The coder of `Compress`: bits-back coding with asymmetric numeral systems (ANS), of one layer of z or several."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor
from torch.distributions import Distribution, Normal

from aevb.distributions.chain import Chain
from aevb.distributions.kl import distribution_name, factorized
from aevb.networks import FirstLayer
from aevb.posteriors import BottomUp
from aevb.priors import ConditionalGaussian, StandardNormal
from aevb.tasks.coder import Coder, Numbers, Symbols
from aevb.vae import VAE

PRECISION = 24
"""Bits to which constriction rounds probabilities; the least probable symbol takes as many."""

DRAWS = 1000
"""Of p(z), whose means and deviations place bins that the prior's conditional cannot."""
WIDTH = 2.0
"""Deviation of such bins, in those of p(z)."""


class Gaussian(NamedTuple):
    """Means and standard deviations of independent Gaussian variables."""

    loc: Numbers
    scale: Numbers

    def relative_to(self, other: "Gaussian") -> "Gaussian":
        """The same in units in which the other is standard normal."""
        return Gaussian((self.loc - other.loc) / other.scale, self.scale / other.scale)


class Step(NamedTuple):
    """A step of coding a datapoint: of x, or of the layer z_l by q or by p."""

    kind: Literal["q", "x", "p"]
    layer: int = 0


class BitsBack(Coder):
    """A coder of models with Gaussian latent variables, which takes the bits of z from the stack.

    Each dimension of a layer z_l is divided into bins of equal mass under p(z_l | layers above), where q draws the
    layers above first. In a model whose q goes upwards from x, that holds for the top layer alone; the others have bins
    of equal mass under a Gaussian of the mean and `WIDTH` times the deviation of `DRAWS` draws of p(z_l).

    The order of the steps is that of bits-back coding: all layers are decoded by q, then x is encoded by p(x|z), then
    all layers by p. In a model whose q and p are Markov chains upwards and downwards, it is that of bit-swap: x is
    encoded as soon as z_1 is there, and z_l as soon as z_{l+1} is, so that the first datapoint needs random bits for
    one layer only.

    The next datapoint's z is decoded from the bits of the layers of the first kind. These must be uniform, or that z is
    no draw of q(z|x), and the file is longer than the ELBO says; they are so only if Σ_n q(z|x_n) / N is p(z) (section
    2.5 of the first source). As their bins have the same mass under p, z may be encoded with any of its values
    exchanged for others: here by exclusive or with pseudo-random bits, which makes it uniform for any q.

    Sources: Townsend, Bird & Barber (2019), arXiv 1901.04866; Kingma, Abbeel & Ho (2019), Bit-Swap, arXiv 1905.06845.
    """

    def __init__(self, vae: VAE, levels: int, latent_bits: int, c: Tensor | None = None) -> None:
        super().__init__(vae, levels, c)
        q, p = distributions(self.given(0))
        require_codable(vae, q, p, latent_bits)
        self.bins = 2**latent_bits
        self.uniform = self.stream.model.Uniform(self.bins)
        self.gaussian = self.stream.model.CustomModel(
            lambda k, loc, scale: ndtr((ndtri((k + 0.5) / self.bins) - loc) / scale),
            lambda mass, loc, scale: self.bins * ndtr(loc + scale * ndtri(mass)) - 0.5,
            0,
            self.bins - 1,
        )
        self.sizes = getattr(p, "sizes", (vae.p.latent_dim,))
        layers = range(len(self.sizes))
        self.from_prior = [not isinstance(p, Chain) or p.before(layer) <= q.before(layer) for layer in layers]
        """Whether the bins of a layer have equal mass under the prior's conditional."""
        order = q.order if isinstance(q, Chain) else layers
        if isinstance(vae.q.head, BottomUp) and isinstance(vae.p.decoder, FirstLayer):
            swaps = [step for layer in layers[1:] for step in (Step("q", layer), Step("p", layer - 1))]
            self.steps = [Step("q"), Step("x"), *swaps, Step("p", layers[-1])]
            self.words = max(words_of(size) for size in self.sizes)
        else:
            by_p = [Step("p", layer) for layer in layers]
            self.steps = [*(Step("q", layer) for layer in order), Step("x"), *by_p]
            self.words = words_of(sum(self.sizes))

    def push(self, stack: Any, x: Symbols, index: int) -> None:
        state = State(self, index, x)
        for step in self.steps:
            if step.kind == "q":
                if stack.num_words() < words_of(self.sizes[step.layer]):
                    raise ValueError(
                        "task=compress needs data that take bits; under this model they have almost probability 1"
                    )
                grid = state.grid(step.layer)
                state.set(step.layer, stack.decode(self.gaussian, *state.q(step.layer).relative_to(grid)), grid)
            elif step.kind == "x":
                stack.encode_reverse(x, self.categorical, self.p_of_x(state.vae.p, state.z))
            elif self.from_prior[step.layer]:
                stack.encode_reverse(state.symbols[step.layer] ^ state.mask(step.layer), self.uniform)
            else:
                relative = state.p(step.layer).relative_to(self.fixed_grids[step.layer])
                stack.encode_reverse(state.symbols[step.layer], self.gaussian, *relative)

    def pop(self, stack: Any, index: int) -> Symbols:
        state = State(self, index)
        for step in reversed(self.steps):
            if step.kind == "q":
                relative = state.q(step.layer).relative_to(state.grid(step.layer))
                stack.encode_reverse(state.symbols[step.layer], self.gaussian, *relative)
            elif step.kind == "x":
                state.see(stack.decode(self.categorical, self.p_of_x(state.vae.p, state.z)))
            elif self.from_prior[step.layer]:
                symbols = stack.decode(self.uniform, self.sizes[step.layer]) ^ state.mask(step.layer)
                state.set(step.layer, symbols, state.grid(step.layer))
            else:
                grid = self.fixed_grids[step.layer]
                state.set(step.layer, stack.decode(self.gaussian, *state.p(step.layer).relative_to(grid)), grid)
        return state.x

    @cached_property
    def fixed_grids(self) -> list[Gaussian]:
        """Of each layer, the Gaussian of whose bins do not depend on the layers above."""
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            z = self.vae.p.sample_prior(DRAWS, 1)[:, 0].double().cpu()
        parts = zip(z.mean(0).split(self.sizes), (WIDTH * z.std(0)).split(self.sizes), strict=True)
        return [Gaussian(mean.numpy(), scale.clamp(min=1e-6).numpy()) for mean, scale in parts]


class State:
    """What is known of a datapoint while it is coded: x, once it is, and layers of z; the others are 0.

    Args:
        coder: It belongs to.
        index: Of the datapoint.
        x: Its symbols (D,), where they are known.
    """

    def __init__(self, coder: BitsBack, index: int, x: Symbols | None = None) -> None:
        self.coder, self.index, self.vae, weight = coder, index, coder.given(index), coder.levels_of_x
        self.z = weight.new_zeros(1, 1, sum(coder.sizes))
        self.symbols: dict[int, Symbols] = {}
        self.posterior: Distribution | None = None
        self.see(np.zeros(np.prod(self.vae.p.data_shape), np.int32) if x is None else x)

    def see(self, x: Symbols) -> None:
        """Take x."""
        self.x, self.posterior = x, None

    def set(self, layer: int, symbols: Symbols, grid: Gaussian) -> None:
        """Take the symbols of a layer: z is the median of their bins."""
        self.symbols[layer] = symbols
        values = grid.loc + grid.scale * ndtri((symbols + 0.5) / self.coder.bins)
        self.z.split(self.coder.sizes, -1)[layer].copy_(torch.from_numpy(values))

    def q(self, layer: int) -> Gaussian:
        """q(z_l | layers that q draws before, x)."""
        if self.posterior is None:
            with torch.no_grad():
                self.posterior = self.vae.q(self.coder.values(self.x).reshape(1, *self.vae.p.data_shape))
        return conditional(self.posterior, self.z, layer)

    def p(self, layer: int) -> Gaussian:
        """p(z_l | layers above)."""
        return conditional(self.vae.p.prior(), self.z, layer)

    def grid(self, layer: int) -> Gaussian:
        """The Gaussian under which the bins of a layer have equal mass."""
        return self.p(layer) if self.coder.from_prior[layer] else self.coder.fixed_grids[layer]

    def mask(self, layer: int) -> Symbols:
        """Pseudo-random bits for a layer."""
        key = [self.index, layer] if layer else self.index
        size = self.coder.sizes[layer]
        return np.random.default_rng(key).integers(self.coder.bins, size=size, dtype=np.int32)


@torch.no_grad()
def conditional(distribution: Distribution, z: Tensor, layer: int) -> Gaussian:
    """The conditional of a layer at z (1, 1, latent_dim)."""
    each = distribution.conditionals(z)[layer] if isinstance(distribution, Chain) else distribution
    normal: Any = factorized(each)
    return Gaussian(*(part.double().cpu().numpy().reshape(-1) for part in (normal.loc, normal.scale)))


def words_of(latents: int) -> int:
    """The most words that the decoding of so many latent variables takes from the stack."""
    return -(-PRECISION * latents // 32)


@torch.no_grad()
def distributions(vae: VAE) -> tuple[Any, Any]:
    """q(z|x) at one x, and p(z)."""
    return vae.q(vae.p.head.layer.weight.new_zeros(1, *vae.p.data_shape)), vae.p.prior()


def require_codable(vae: VAE, q: Any, p: Any, latent_bits: int) -> None:
    """Raise a `ValueError` for a model, or settings of a file, that bits-back coding does not support."""
    top = getattr(vae.p.prior, "top", vae.p.prior)
    if not isinstance(top, StandardNormal) and not isinstance(vae.p.prior, ConditionalGaussian):
        name = type(top).__name__
        raise ValueError(f"task=compress needs a standard normal p(z), model/prior=standard_normal, got {name}")
    if isinstance(q, Chain) != isinstance(p, Chain):
        raise ValueError("task=compress needs q(z|x) and p(z) over the same layers")
    for each in conditionals(q, vae.p.head.layer.weight.new_zeros(1, 1, vae.p.latent_dim)):
        if not isinstance(factorized(each), Normal):
            name = distribution_name(each)
            raise ValueError(f"task=compress needs a Gaussian q(z|x), model/posterior=diagonal_gaussian, got {name}")
    if not 4 <= latent_bits <= 20:
        raise ValueError(f"task=compress needs 4 to 20 latent_bits, got {latent_bits}")


@torch.no_grad()
def conditionals(distribution: Distribution, z: Tensor) -> Sequence[Distribution]:
    """The distributions of the layers at z."""
    return distribution.conditionals(z) if isinstance(distribution, Chain) else [distribution]
