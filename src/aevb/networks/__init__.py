"""Backbones of encoders and decoders (`model/encoder=`, `model/decoder=`), and the initialisation of their weights."""

from aevb.networks.base import Backbone, FullPrecision, as_weights
from aevb.networks.convolutional import ConvDecoder, ConvEncoder
from aevb.networks.initialization import initialize
from aevb.networks.mlp import MLP, MLPDecoder, MLPEncoder

__all__ = [
    "MLP",
    "Backbone",
    "ConvDecoder",
    "ConvEncoder",
    "FullPrecision",
    "MLPDecoder",
    "MLPEncoder",
    "as_weights",
    "initialize",
]
