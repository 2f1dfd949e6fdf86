"""Small models with discrete codes, and of tokens."""

from functools import partial
from typing import Any

from aevb.likelihoods import Bernoulli, RecurrentTokens
from aevb.networks import FSQ, CausalTransformer, CodeMaps, ConvPyramid, EMACodebook, MLPDecoder, TokenEncoder
from aevb.posteriors import DiagonalGaussian, Quantized
from aevb.priors import Codes, StandardNormal
from aevb.vae import VAE

SMALL: Any = partial(CausalTransformer, width=8, depth=1, heads=2)
QUANTIZERS: dict[str, Any] = {"codebook": partial(EMACodebook, num_codes=5), "fsq": partial(FSQ, levels=(3, 2))}


def code_model(
    quantizer: str = "codebook",
    network: Any = SMALL,
    commitment: float = 0.25,
    sides: int = 4,
    halvings: int = 1,
    rate_temperature: float = 0.0,
    likelihood: Any = Bernoulli,
) -> VAE:
    """Codes on a map of two dimensions each over images of (1, sides, sides)."""
    maps: dict[str, Any] = {"halvings": (halvings,), "width": 4}
    return VAE(
        latent_dim=2 * (sides // 2**halvings) ** 2,
        data_shape=(1, sides, sides),
        encoder=partial(ConvPyramid, **maps),
        posterior=partial(Quantized, code_dim=2, commitment=commitment, rate_temperature=rate_temperature),
        prior=partial(Codes, code_dim=2, quantizer=QUANTIZERS[quantizer], network=network),
        decoder=partial(CodeMaps, code_dim=2, **maps),
        likelihood=likelihood,
        initialization="xavier",
    )


def token_model(vocabulary: int = 2, bars: int = 2) -> VAE:
    """Sequences of four tokens."""
    return VAE(
        latent_dim=2,
        data_shape=(4,),
        encoder=partial(TokenEncoder, vocabulary=vocabulary, width=4, embedding=2),
        posterior=DiagonalGaussian,
        prior=StandardNormal,
        decoder=partial(MLPDecoder, hidden=[]),
        likelihood=partial(RecurrentTokens, vocabulary=vocabulary, width=4, bars=bars, embedding=2),
    )
