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
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL.Image import fromarray
from torch import Tensor

from aevb.data.module import Split
from aevb.distributions.levels import Levels
from aevb.estimators import ELBO
from aevb.estimators.runner import run
from aevb.likelihoods import Bernoulli
from aevb.priors import Codes
from aevb.tasks.base import Task, TaskResult
from aevb.tasks.bits_back import BitsBack
from aevb.tasks.code_coder import CodeCoder
from aevb.tasks.coder import Coder, Symbols, steps_per_unit
from aevb.vae import VAE

MAGIC = b"AEVB-BB1"
HEADER = struct.Struct("<8s16s16sIIB")
"""Magic, digest of what follows, digest of the weights, datapoints, levels of a value of x, log₂ of the bins of z."""

LatentBits = Annotated[int, Interval(ge=4, le=20)]


@dataclass(frozen=True)
class Compress(Task):
    """A file of the datapoints, compressed without loss by bits-back coding with asymmetric numeral systems (ANS).

    For each datapoint z is decoded from the bits that are on the stack, by q(z|x); then x is encoded by p(x|z) and z by
    p(z). The expected growth is −log₂ p(x|z) − log₂ p(z) + log₂ q(z|x), the negative ELBO in bits. Each dimension of
    z is divided into 2^latent_bits bins, of equal mass under p(z) in a model of one layer; see
    `aevb.tasks.bits_back.BitsBack`, also for several. Discrete codes are encoded as they are, see
    `aevb.tasks.code_coder.CodeCoder`. Where the model takes conditions, such as labels, these are not in the file. The
    file is decoded again and compared with the data; it is written to `images/`, and `decompress` reads it.

    Sources: Townsend, Bird & Barber, Practical lossless compression with latent variables using bits back coding
    (2019); of several layers Kingma, Abbeel & Ho, Bit-Swap (2019); the coder is the library constriction (Bamler 2022).

    Args:
        latent_bits: log₂ of the number of bins of each dimension of z. The coder gives each bin a probability of at
            least 2⁻²⁴, so that too many bins flatten q(z|x).
    """

    name: ClassVar[str] = "compress"
    takes_condition: ClassVar[bool] = True

    latent_bits: LatentBits = 12

    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        content = compress(vae, data.x, self.latent_bits, data.c)
        levels = levels_of(vae, data.x)
        symbols = symbols_of(vae, data.x, levels)
        decoded = decompress(vae, content, data.c)
        if not np.array_equal(symbols_of(vae, decoded, levels), symbols):
            raise ValueError("task=compress: the decoded data differ from the encoded ones; please report this")
        estimates, _ = run(ELBO(), vae, data, rows)
        initial = coder_of(vae, levels, self.latent_bits, conditions(vae, data.c, len(data.x))).initial_bits()
        sizes = {"file": len(content), **other_sizes(symbols, vae.p.data_shape, levels)}
        bits = {name: 8 * size / symbols.size for name, size in sizes.items()}
        bits["elbo"] = -estimates.mean * len(symbols) / symbols.size / math.log(2)
        others = ", ".join(f"{bits[name]:.4f} {name}" for name in bits if name not in ("file", "elbo"))
        return TaskResult(
            {f"{name}_bits_per_dim": value for name, value in bits.items()}
            | {"bytes": len(content), "initial_bits": 32 * len(initial)},
            [
                f"{len(content):,} bytes, decoded again without loss: {bits['file']:.4f} bits per dimension, "
                f"{100 * (bits['file'] / bits['elbo'] - 1):.2f} % more than the negative ELBO, {bits['elbo']:.4f}",
                f"other formats, in bits per dimension: {others}",
            ],
            {"bits": figure(bits)},
            archives={"": content},
        )


def compress(vae: VAE, x: Any, latent_bits: int = 12, c: Any = None) -> bytes:
    """A file of datapoints x (N, *data_shape), see `Compress`; where the model takes them, given c (N, …).

    Raises:
        ValueError: the model or the data do not allow it.
    """
    x = vae.batch(x)
    levels = levels_of(vae, x)
    c = conditions(vae, c, len(x))
    coder = coder_of(vae, levels, latent_bits, c)
    stack = coder.stack(coder.initial_bits(), True)
    for index, symbols in reversed([*enumerate(symbols_of(vae, x, levels))]):  # a stack: the last is decoded first
        coder.push(stack, symbols, index)
    words = stack.get_compressed().astype("<u4").tobytes()
    rest = HEADER.pack(MAGIC, b"", weights_digest(vae, c), len(x), levels, latent_bits)[24:] + words
    return MAGIC + digest(rest) + rest


def decompress(vae: VAE, content: bytes, c: Any = None) -> Tensor:
    """The datapoints (N, *data_shape) of a file of `compress`; where the model takes them, given the same c (N, …).

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
    c = conditions(vae, c, count)
    if weights != weights_digest(vae, c):
        given = "" if c is None else ", or given other conditions"
        raise ValueError(f"the file was compressed by a model with other weights{given}")
    coder = coder_of(vae, levels, latent_bits, c)
    stack = coder.stack(np.frombuffer(content, "<u4", offset=HEADER.size).astype(np.uint32))
    symbols = [coder.pop(stack, index) for index in range(count)]
    before = coder.stack(coder.initial_bits(), True)
    if not np.array_equal(stack.get_compressed(), before.get_compressed()):
        raise ValueError(
            "the file cannot be decoded here: the networks do not give the numbers that they gave in compression; use "
            "the same device, number of threads and version of torch"
        )
    flat = coder.values(np.stack(symbols)) if symbols else torch.empty(0)
    return flat.reshape(count, *vae.p.data_shape)


def coder_of(vae: VAE, levels: int, latent_bits: int, c: Tensor | None) -> Coder:
    """The coder of a model."""
    codes = isinstance(vae.p.prior, Codes)
    return CodeCoder(vae, levels, c) if codes else BitsBack(vae, levels, latent_bits, c)


def conditions(vae: VAE, c: Any, count: int) -> Tensor | None:
    """Conditions of so many datapoints as the model takes them; None where it takes none.

    Raises:
        ValueError: the model needs conditions, or others.
    """
    return vae.given(c, count).p.condition


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


def weights_digest(vae: VAE, c: Tensor | None) -> bytes:
    """Tells a model's weights, and the conditions that it is given, from others."""
    named = vae.state_dict() | ({} if c is None else {"c": c})
    return digest(
        *(part for name, w in named.items() for part in (name.encode(), w.cpu().contiguous().numpy().tobytes()))
    )


def digest(*parts: bytes) -> bytes:
    """The first 16 bytes of the SHA-256 of bytes."""
    return hashlib.sha256(b"".join(parts)).digest()[:16]


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


def figure(bits: dict[str, float]) -> Figure:
    """Bars of bits per dimension, the shortest first."""
    names = sorted(bits, key=bits.__getitem__)
    drawn = Figure(figsize=(6.0, 0.8 + 0.35 * len(names)), dpi=110, layout="constrained")
    axes = drawn.subplots()
    titles = {"elbo": "−ELBO", "file": "bits back", "raw": "uncompressed", "png": "PNG"}
    colours = ["C0" if name in ("elbo", "file") else "0.7" for name in names]
    bars = axes.barh([titles.get(name, name) for name in names], [bits[name] for name in names], color=colours)
    axes.bar_label(bars, fmt="%.4f", padding=3, fontsize="small")
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.set_xlabel("bits per dimension")
    return drawn


def tiled(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images (N, C, H, W) on one without gaps, (H', W') or (H', W', 3)."""
    columns = math.ceil(len(images) ** 0.5)
    images = np.pad(images, ((0, -len(images) % columns), (0, 0), (0, 0), (0, 0)))
    channels, _, width = images.shape[1:]
    rows = images.reshape(-1, columns, *images.shape[1:]).transpose(0, 3, 1, 4, 2)
    return rows.reshape(-1, columns * width, *[channels] * (channels > 1))
