"""Backbones of encoders and decoders (`model/encoder=`, `model/decoder=`), and the initialisation of their weights."""

from aevb.networks.base import Backbone, FullPrecision, Part, as_weights, evaluation_mode
from aevb.networks.causal import CausalTransformer
from aevb.networks.classifier import Classifier
from aevb.networks.condition import beside, condition_shape_of, given
from aevb.networks.convolutional import ConvDecoder, ConvEncoder
from aevb.networks.gaussian import GaussianMLP
from aevb.networks.initialization import initialize
from aevb.networks.layered import FirstLayer, LastState
from aevb.networks.mlp import MLP, MLPDecoder, MLPEncoder
from aevb.networks.quantizers import FSQ, EMACodebook, Quantizer
from aevb.networks.sequence import Context, EachStep, TokenEncoder
from aevb.networks.spatial import CodeMaps, ConvPyramid, LastMaps

__all__ = [
    "FSQ",
    "MLP",
    "Backbone",
    "CausalTransformer",
    "Classifier",
    "CodeMaps",
    "Context",
    "ConvDecoder",
    "ConvEncoder",
    "ConvPyramid",
    "EMACodebook",
    "EachStep",
    "FirstLayer",
    "FullPrecision",
    "GaussianMLP",
    "LastMaps",
    "LastState",
    "MLPDecoder",
    "MLPEncoder",
    "Part",
    "Quantizer",
    "TokenEncoder",
    "as_weights",
    "beside",
    "condition_shape_of",
    "evaluation_mode",
    "given",
    "initialize",
]
