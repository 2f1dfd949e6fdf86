"""The coder of `Compress`: bits-back coding with asymmetric numeral systems (ANS), of one layer of z or several."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor
from torch.distributions import Distribution, Normal, constraints

from aevb.distributions.chain import Chain
from aevb.distributions.kl import distribution_name, factorized
from aevb.distributions.levels import Levels
from aevb.errors import extra
from aevb.likelihoods import Bernoulli
from aevb.networks import FirstLayer
from aevb.posteriors import BottomUp
from aevb.priors import StandardNormal
from aevb.vae import VAE

MAX_LEVELS = 2**16
PRECISION = 24
"""Bits to which constriction rounds probabilities; the least probable symbol takes as many."""

DRAWS = 1000
"""Of p(z), whose means and deviations place bins that the prior's conditional cannot."""
WIDTH = 2.0
"""Deviation of such bins, in those of p(z)."""

Symbols = NDArray[np.int32]
Numbers = NDArray[np.float64]


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


class BitsBack:
    """Moves single datapoints to and from a stack of bits.

    Both directions compute with one datapoint at a time: the networks' outputs for it do not depend on others.

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

    def __init__(self, vae: VAE, levels: int, latent_bits: int) -> None:
        with extra("compress", "task=compress"):
            from constriction import stream
        require_codable(vae, levels, latent_bits)
        self.vae, self.levels, self.bins = vae, levels, 2**latent_bits
        self.stack = stream.stack.AnsCoder
        self.uniform = stream.model.Uniform(self.bins)
        self.likelihood = stream.model.Categorical(perfect=False)
        self.gaussian = stream.model.CustomModel(
            lambda k, loc, scale: ndtr((ndtri((k + 0.5) / self.bins) - loc) / scale),
            lambda mass, loc, scale: self.bins * ndtr(loc + scale * ndtri(mass)) - 0.5,
            0,
            self.bins - 1,
        )
        self.levels_of_x = self.values(np.arange(levels, dtype=np.int32))
        q, p = distributions(vae)
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
        """The most words of random bits that the first datapoint takes."""

    def initial_bits(self) -> NDArray[np.uint32]:
        """Random words from which the first z is decoded, and two to spare."""
        return np.random.default_rng(0).integers(2**32, size=self.words + 2, dtype=np.uint32)

    def push(self, stack: Any, x: Symbols, index: int) -> None:
        """Encode datapoint `index`, (D,)."""
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
                stack.encode_reverse(x, self.likelihood, self.p_of_x(state.z))
            elif self.from_prior[step.layer]:
                stack.encode_reverse(state.symbols[step.layer] ^ state.mask(step.layer), self.uniform)
            else:
                relative = state.p(step.layer).relative_to(self.fixed_grids[step.layer])
                stack.encode_reverse(state.symbols[step.layer], self.gaussian, *relative)

    def pop(self, stack: Any, index: int) -> Symbols:
        """Decode datapoint `index`, which was encoded last."""
        state = State(self, index)
        for step in reversed(self.steps):
            if step.kind == "q":
                relative = state.q(step.layer).relative_to(state.grid(step.layer))
                stack.encode_reverse(state.symbols[step.layer], self.gaussian, *relative)
            elif step.kind == "x":
                state.see(stack.decode(self.likelihood, self.p_of_x(state.z)))
            elif self.from_prior[step.layer]:
                symbols = stack.decode(self.uniform, self.sizes[step.layer]) ^ state.mask(step.layer)
                state.set(step.layer, symbols, state.grid(step.layer))
            else:
                grid = self.fixed_grids[step.layer]
                state.set(step.layer, stack.decode(self.gaussian, *state.p(step.layer).relative_to(grid)), grid)
        return state.x

    def values(self, symbols: Symbols) -> Tensor:
        """The values of x that symbols stand for."""
        weight = self.vae.p.head.layer.weight
        return torch.from_numpy(symbols).to(weight) / steps_per_unit(self.vae, self.levels)

    @torch.no_grad()
    def p_of_x(self, z: Tensor) -> Numbers:
        """Probabilities of each level of every value of x given z (1, 1, latent_dim), (D, levels)."""
        each = self.vae.p.likelihood(z).base_dist  # type: ignore[attr-defined]
        log_p = each.log_prob(self.levels_of_x.reshape(-1, *[1] * len(each.batch_shape)))
        return np.ascontiguousarray(log_p.flatten(1).double().exp().cpu().numpy().T)

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
        self.coder, self.index, weight = coder, index, coder.levels_of_x
        self.z = weight.new_zeros(1, 1, sum(coder.sizes))
        self.symbols: dict[int, Symbols] = {}
        self.posterior: Distribution | None = None
        self.see(np.zeros(np.prod(coder.vae.p.data_shape), np.int32) if x is None else x)

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
                x = self.coder.values(self.x).reshape(1, *self.coder.vae.p.data_shape)
                self.posterior = self.coder.vae.q(x)
        return conditional(self.posterior, self.z, layer)

    def p(self, layer: int) -> Gaussian:
        """p(z_l | layers above)."""
        return conditional(self.coder.vae.p.prior(), self.z, layer)

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


@torch.no_grad()
def require_codable(vae: VAE, levels: int, latent_bits: int) -> None:
    """Raise a `ValueError` for a model, or settings of a file, that bits-back coding does not support."""
    if vae.condition_shape is not None:
        raise ValueError("task=compress does not support models that take a condition")
    top = getattr(vae.p.prior, "top", vae.p.prior)
    if not isinstance(top, StandardNormal):
        name = type(top).__name__
        raise ValueError(f"task=compress needs a standard normal p(z), model/prior=standard_normal, got {name}")
    q, p = distributions(vae)
    z = vae.p.head.layer.weight.new_zeros(1, 1, vae.p.latent_dim)
    if isinstance(q, Chain) != isinstance(p, Chain):
        raise ValueError("task=compress needs q(z|x) and p(z) over the same layers")
    for each in conditionals(q, z):
        if not isinstance(factorized(each), Normal):
            name = distribution_name(each)
            raise ValueError(f"task=compress needs a Gaussian q(z|x), model/posterior=diagonal_gaussian, got {name}")
    if not 2 <= levels <= MAX_LEVELS or not 4 <= latent_bits <= 20:
        raise ValueError(f"task=compress codes values of x of 2 to {MAX_LEVELS:,} levels, got {levels:,}")


def conditionals(distribution: Distribution, z: Tensor) -> Sequence[Distribution]:
    """The distributions of the layers at z."""
    return distribution.conditionals(z) if isinstance(distribution, Chain) else [distribution]


def steps_per_unit(vae: VAE, levels: int) -> int:
    """Levels between the values 0 and 1 of x, 1 for counts.

    Raises:
        ValueError: the likelihood is not discrete, or is no product over the values of x.
    """
    head = vae.p.head
    if head.values_per_step is None:
        if isinstance(head, Bernoulli):
            return 1
        if isinstance(head.support, Levels):
            return levels - 1
        if head.support is constraints.nonnegative_integer and head.discrete:
            return 1
    raise ValueError(
        "task=compress needs a discrete p(x|z) that is a product over the values of x: Bernoulli, of black and white, "
        f"levels (categorical, discretized_logistic) or counts (poisson, negative_binomial), got {type(head).__name__}"
    )
