"""Bodies of encoders and decoders (`model/encoder=`, `model/decoder=`), and the initialisation of their weights."""

from aevb.networks.base import ACTIVATIONS, Body, activation_layer
from aevb.networks.convolutional import ConvDecoder, ConvEncoder
from aevb.networks.initialization import INITIALIZATIONS, initialize
from aevb.networks.mlp import MLP, MLPDecoder, MLPEncoder

__all__ = [
    "ACTIVATIONS",
    "INITIALIZATIONS",
    "MLP",
    "Body",
    "ConvDecoder",
    "ConvEncoder",
    "MLPDecoder",
    "MLPEncoder",
    "activation_layer",
    "initialize",
]
