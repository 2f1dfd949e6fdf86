"""Graphs of encoders and decoders give what the model gives, for any size of batch."""

import sys
from functools import partial

import onnxruntime
import pytest
import torch

import aevb
from aevb.apps.graphs import write_graphs
from aevb.errors import ConfigError
from aevb.likelihoods import Gaussian
from aevb.networks import MLPDecoder, MLPEncoder
from aevb.posteriors import DiagonalGaussian, FullGaussian
from aevb.priors import StandardNormal
from aevb.vae import VAE

from ..small import small_model

MODELS = {
    "bernoulli": lambda: small_model((1, 8, 8)),
    "gaussian": lambda: small_model((1, 1, 7), likelihood=Gaussian, posterior=FullGaussian, latent_dim=3),
}


def conditional():
    backbones = [partial(kind, hidden=[8], condition_shape=(3,)) for kind in (MLPEncoder, MLPDecoder)]
    return VAE(2, (1, 2, 3), backbones[0], DiagonalGaussian, StandardNormal, backbones[1], Gaussian)


MODELS["conditional"] = conditional


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_graphs_give_what_the_model_gives(name, tmp_path):
    torch.manual_seed(0)
    vae = MODELS[name]().eval()
    assert write_graphs(vae, tmp_path, ["torch_export", "onnx"]) == []
    x, z = torch.rand(7, *vae.p.data_shape), torch.randn(7, vae.p.latent_dim)  # not the traced size
    c = None if vae.condition_shape is None else torch.rand(7, *vae.condition_shape)
    posterior = vae.encode(x, c)
    expected = {"encoder": (posterior.mean, posterior.stddev), "decoder": (vae.decode(z[None], c).mean[0],)}
    for part, argument in (("encoder", x), ("decoder", z)):
        inputs = (argument,) if c is None else (argument, c)
        program = torch.export.load(tmp_path / f"{part}.pt2").module()(*inputs)
        program = program if isinstance(program, tuple) else (program,)
        session = onnxruntime.InferenceSession(tmp_path / f"{part}.onnx", providers=["CPUExecutionProvider"])
        names = [node.name for node in session.get_inputs()]
        onnx = session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})
        for value, traced, its in zip(expected[part], program, onnx, strict=True):
            torch.testing.assert_close(traced, value, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(torch.from_numpy(its), value, rtol=1e-5, atol=1e-5)


def test_graph_that_differs_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("aevb.apps.graphs.TOLERANCE", -1.0)
    with pytest.raises(ConfigError, match=r"^formats: encoder\.onnx differs from the model by .*, and was removed$"):
        write_graphs(small_model((1, 2, 2)), tmp_path, ["onnx"])
    assert [*tmp_path.iterdir()] == []


def test_posterior_without_moments_has_no_encoder(tmp_path):
    vae = aevb.config.instantiate(aevb.compose(["model/posterior=iaf", "model.encoder.hidden=[8]"]).model)
    (reason,) = write_graphs(vae, tmp_path, ["torch_export"])
    assert reason.startswith("the encoder, as q(z|x) has no mean")
    assert [file.name for file in tmp_path.iterdir()] == ["decoder.pt2"]


def test_missing_extra_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"^formats=\[onnx\] is an extra; install it with: pip install"):
        write_graphs(small_model((1, 2, 2)), tmp_path, ["onnx"])
