"""Lossless compression by bits-back coding: the ELBO as the length of a file."""

import gzip
import hashlib
import io
import math
import struct
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Interval
from numpy.typing import NDArray
from PIL.Image import fromarray
from scipy.special import ndtr, ndtri
from torch import Tensor
from torch.distributions import Normal, constraints

from aevb.data.module import Split
from aevb.distributions.kl import distribution_name, factorized
from aevb.distributions.levels import Levels
from aevb.errors import ConfigError
from aevb.estimators import ELBO
from aevb.estimators.runner import run
from aevb.likelihoods import Bernoulli
from aevb.priors import StandardNormal
from aevb.tasks.base import Task, TaskResult
from aevb.vae import VAE

MAGIC = b"AEVB-BB1"
HEADER = struct.Struct("<8s16s16sIIB")
"""Magic, digest of what follows, digest of the weights, datapoints, levels of a value of x, log₂ of the bins of z."""

MAX_LEVELS = 2**16
PRECISION = 24
"""Bits to which constriction rounds probabilities; the least probable symbol takes as many."""

LatentBits = Annotated[int, Interval(ge=4, le=20)]
Symbols = NDArray[np.int32]


@dataclass(frozen=True)
class Compress(Task):
    """A file of the datapoints, compressed without loss by bits-back coding with asymmetric numeral systems (ANS).

    For each datapoint z is decoded from the bits that are on the stack, by q(z|x); then x is encoded by p(x|z) and z by
    p(z). The expected growth is −log₂ p(x|z) − log₂ p(z) + log₂ q(z|x), the negative ELBO in bits. Each dimension of
    z is divided into 2^latent_bits bins of equal mass under p(z), of which q(z|x) gives the probabilities too. The
    file is decoded again and compared with the data; it is written to `images/`, and `decompress` reads it.

    Source: Townsend, Bird & Barber, Practical lossless compression with latent variables using bits back coding (2019);
    the coder is the library constriction (Bamler 2022).

    Args:
        latent_bits: log₂ of the number of bins of each dimension of z. The coder gives each bin a probability of at
            least 2⁻²⁴, so that too many bins flatten q(z|x).
    """

    name: ClassVar[str] = "compress"

    latent_bits: LatentBits = 12

    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        content = compress(vae, data.x, self.latent_bits)
        levels = levels_of(vae, data.x)
        symbols = symbols_of(vae, data.x, levels)
        decoded = decompress(vae, content)
        if not np.array_equal(symbols_of(vae, decoded, levels), symbols):
            raise ValueError("task=compress: the decoded data differ from the encoded ones; please report this")
        estimates, _ = run(ELBO(), vae, data, rows)
        sizes = {"file": len(content), **other_sizes(symbols, vae.p.data_shape, levels)}
        bits = {name: 8 * size / symbols.size for name, size in sizes.items()}
        bits["elbo"] = -estimates.mean * len(symbols) / symbols.size / math.log(2)
        others = ", ".join(f"{bits[name]:.4f} {name}" for name in bits if name not in ("file", "elbo"))
        return TaskResult(
            {f"{name}_bits_per_dim": value for name, value in bits.items()}
            | {"bytes": len(content), "initial_bits": 32 * len(initial_bits(vae))},
            [
                f"{len(content):,} bytes, decoded again without loss: {bits['file']:.4f} bits per dimension, "
                f"{100 * (bits['file'] / bits['elbo'] - 1):.2f} % more than the negative ELBO, {bits['elbo']:.4f}",
                f"other formats, in bits per dimension: {others}",
            ],
            archives={"": content},
        )


def compress(vae: VAE, x: Any, latent_bits: int = 12) -> bytes:
    """A file of datapoints x (N, *data_shape), see `Compress`.

    Raises:
        ValueError: the model or the data do not allow it.
    """
    x = vae.batch(x)
    levels = levels_of(vae, x)
    coder = BitsBack(vae, levels, latent_bits)
    stack = coder.stack(initial_bits(vae), True)
    for index, symbols in reversed([*enumerate(symbols_of(vae, x, levels))]):  # a stack: the last is decoded first
        coder.push(stack, symbols, index)
    words = stack.get_compressed().astype("<u4").tobytes()
    rest = HEADER.pack(MAGIC, b"", weights_digest(vae), len(x), levels, latent_bits)[24:] + words
    return MAGIC + digest(rest) + rest


def decompress(vae: VAE, content: bytes) -> Tensor:
    """The datapoints (N, *data_shape) of a file of `compress`.

    It takes the bits of the networks' outputs that compression had: the same model, on the same kind of machine, with
    the same number of threads and version of torch.

    Raises:
        ValueError: the file is another's, truncated or damaged, or was compressed by another model or elsewhere.
    """
    if content[: len(MAGIC)] != MAGIC:
        raise ValueError("this is no file of task=compress")
    if len(content) < HEADER.size or digest(content[24:]) != content[8:24]:
        raise ValueError("the file of task=compress is truncated or damaged")
    _, _, weights, count, levels, latent_bits = HEADER.unpack_from(content)
    if weights != weights_digest(vae):
        raise ValueError("the file was compressed by a model with other weights")
    coder = BitsBack(vae, levels, latent_bits)
    stack = coder.stack(np.frombuffer(content, "<u4", offset=HEADER.size).astype(np.uint32))
    symbols = [coder.pop(stack, index) for index in range(count)]
    before = coder.stack(initial_bits(vae), True)
    if not np.array_equal(stack.get_compressed(), before.get_compressed()):
        raise ValueError(
            "the file cannot be decoded here: the networks do not give the numbers that they gave in compression; use "
            "the same device, number of threads and version of torch"
        )
    flat = coder.values(np.stack(symbols)) if symbols else torch.empty(0)
    return flat.reshape(count, *vae.p.data_shape)


class BitsBack:
    """Moves single datapoints to and from a stack of bits.

    Both directions compute with one datapoint at a time: the networks' outputs for it do not depend on others.

    The bits of z are those from which the next datapoint's z is decoded. These must be uniform, or that z is no draw of
    q(z|x), and the file is longer than the ELBO says; they are so only if Σ_n q(z|x_n) / N is p(z) (section 2.5 of the
    source). As all bins have the same mass under p(z), z may be encoded with any of its values exchanged for others:
    here by exclusive or with pseudo-random bits, which makes it uniform for any q.
    """

    def __init__(self, vae: VAE, levels: int, latent_bits: int) -> None:
        try:
            from constriction import stream  # an extra
        except ImportError as error:
            raise ConfigError("task=compress is an extra; install it with: pip install 'aevb[compress]'") from error
        require_codable(vae, levels, latent_bits)
        self.vae, self.levels, self.bins = vae, levels, 2**latent_bits
        self.stack = stream.stack.AnsCoder
        self.prior = stream.model.Uniform(self.bins)
        self.likelihood = stream.model.Categorical(perfect=False)
        self.posterior = stream.model.CustomModel(
            lambda k, loc, scale: ndtr((ndtri((k + 0.5) / self.bins) - loc) / scale),
            lambda mass, loc, scale: self.bins * ndtr(loc + scale * ndtri(mass)) - 0.5,
            0,
            self.bins - 1,
        )
        self.levels_of_x = self.values(np.arange(levels, dtype=np.int32))

    def push(self, stack: Any, x: Symbols, index: int) -> None:
        """Encode datapoint `index`, (D,)."""
        if stack.num_words() < words_per_latent(self.vae):
            raise ValueError("task=compress needs data that take bits; under this model they have almost probability 1")
        q = self.q(x)
        z = stack.decode(self.posterior, *q)
        stack.encode_reverse(x, self.likelihood, self.p(z))
        stack.encode_reverse(z ^ self.mask(index), self.prior)

    def pop(self, stack: Any, index: int) -> Symbols:
        """Decode datapoint `index`, which was encoded last."""
        z = stack.decode(self.prior, self.vae.p.latent_dim) ^ self.mask(index)
        x: Symbols = stack.decode(self.likelihood, self.p(z))
        stack.encode_reverse(z, self.posterior, *self.q(x))
        return x

    def mask(self, index: int) -> Symbols:
        """Pseudo-random bits for the z of a datapoint."""
        return np.random.default_rng(index).integers(self.bins, size=self.vae.p.latent_dim, dtype=np.int32)

    def values(self, symbols: Symbols) -> Tensor:
        """The values of x that symbols stand for."""
        weight = self.vae.p.head.layer.weight
        return torch.from_numpy(symbols).to(weight) / steps_per_unit(self.vae, self.levels)

    @torch.no_grad()
    def q(self, x: Symbols) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means and standard deviations of q(z|x), (latent_dim,) each."""
        posterior: Any = factorized(self.vae.q(self.values(x).reshape(1, *self.vae.p.data_shape)))
        return posterior.loc[0].double().cpu().numpy(), posterior.scale[0].double().cpu().numpy()

    @torch.no_grad()
    def p(self, z: Symbols) -> NDArray[np.float64]:
        """Probabilities of each level of every value of x given the bins of z, (D, levels)."""
        medians = torch.from_numpy(ndtri((z + 0.5) / self.bins)).to(self.levels_of_x)
        each = self.vae.p.likelihood(medians.reshape(1, 1, -1)).base_dist  # type: ignore[attr-defined]
        log_p = each.log_prob(self.levels_of_x.reshape(-1, *[1] * len(each.batch_shape)))
        return np.ascontiguousarray(log_p.flatten(1).double().exp().cpu().numpy().T)


@torch.no_grad()
def require_codable(vae: VAE, levels: int, latent_bits: int) -> None:
    """Raise a `ValueError` for a model, or settings of a file, that bits-back coding does not support."""
    if vae.condition_shape is not None:
        raise ValueError("task=compress does not support models that take a condition")
    if not isinstance(vae.p.prior, StandardNormal):
        name = type(vae.p.prior).__name__
        raise ValueError(f"task=compress needs a standard normal p(z), model/prior=standard_normal, got {name}")
    posterior = vae.q(vae.p.head.layer.weight.new_zeros(1, *vae.p.data_shape))
    if not isinstance(factorized(posterior), Normal):
        name = distribution_name(posterior)
        raise ValueError(f"task=compress needs a Gaussian q(z|x), model/posterior=diagonal_gaussian, got {name}")
    if not 2 <= levels <= MAX_LEVELS or not 4 <= latent_bits <= 20:
        raise ValueError(f"task=compress codes values of x of 2 to {MAX_LEVELS:,} levels, got {levels:,}")


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
        if head.support is constraints.nonnegative_integer:
            return 1
    raise ValueError(
        "task=compress needs a discrete p(x|z) that is a product over the values of x: Bernoulli, of black and white, "
        f"levels (categorical, discretized_logistic) or counts (poisson, negative_binomial), got {type(head).__name__}"
    )


def levels_of(vae: VAE, x: Tensor) -> int:
    """The number of values that each value of x may take; of counts those up to the highest in the data.

    Raises:
        ValueError: x is neither black nor white, and the likelihood is Bernoulli.
    """
    head = vae.p.head
    if isinstance(head, Bernoulli) and not bool(((x == 0) | (x == 1)).all()):
        raise ValueError(
            "task=compress with the likelihood Bernoulli needs black-and-white data, and these have grey values; train "
            "with data.binarization=static"
        )
    return head.support.levels if isinstance(head.support, Levels) else max(2, int(x.max()) + 1)


def symbols_of(vae: VAE, x: Tensor, levels: int) -> Symbols:
    """The levels of datapoints, (N, D): 0 … levels − 1."""
    return (x * steps_per_unit(vae, levels)).round().int().flatten(1).cpu().numpy()


def weights_digest(vae: VAE) -> bytes:
    """Tells a model's weights from others."""
    weights = vae.state_dict().items()
    return digest(*(part for name, w in weights for part in (name.encode(), w.cpu().contiguous().numpy().tobytes())))


def digest(*parts: bytes) -> bytes:
    """The first 16 bytes of the SHA-256 of bytes."""
    return hashlib.sha256(b"".join(parts)).digest()[:16]


def initial_bits(vae: VAE) -> NDArray[np.uint32]:
    """Random words from which the first z is decoded, and two to spare."""
    return np.random.default_rng(0).integers(2**32, size=words_per_latent(vae) + 2, dtype=np.uint32)


def words_per_latent(vae: VAE) -> int:
    """The most words that the decoding of z takes from the stack."""
    return -(-PRECISION * vae.p.latent_dim // 32)


def other_sizes(symbols: Symbols, data_shape: tuple[int, ...], levels: int) -> dict[str, int]:
    """Bytes that other formats take: bits without compression; gzip of these or of whole bytes; PNG of tiled images."""
    width = (levels - 1).bit_length()
    whole = symbols.astype("u1" if levels <= 256 else "<u2")
    bits = (symbols.reshape(-1, 1) >> np.arange(width)[::-1]) & 1
    packed = np.packbits(bits.astype(np.uint8)).tobytes()
    sizes = {"raw": len(packed), "gzip": min(len(gzip.compress(each, 9)) for each in (packed, whole.tobytes()))}
    if levels <= 256 and data_shape[0] in (1, 3) and data_shape[1] > 1:
        buffer = io.BytesIO()
        pixels = tiled(whole.reshape(-1, *data_shape))
        fromarray(pixels.astype(bool) if levels == 2 and data_shape[0] == 1 else pixels).save(
            buffer, format="png", optimize=True
        )
        sizes["png"] = buffer.tell()
    return sizes


def tiled(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images (N, C, H, W) on one without gaps, (H', W') or (H', W', 3)."""
    columns = math.ceil(len(images) ** 0.5)
    images = np.pad(images, ((0, -len(images) % columns), (0, 0), (0, 0), (0, 0)))
    channels, _, width = images.shape[1:]
    rows = images.reshape(-1, columns, *images.shape[1:]).transpose(0, 3, 1, 4, 2)
    return rows.reshape(-1, columns * width, *[channels] * (channels > 1))
