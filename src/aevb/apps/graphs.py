"""Encoder and decoder as graphs, for programs without aevb: torch.export and ONNX."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aevb.distributions.moments import closed_moment
from aevb.errors import ConfigError, extra, first_line
from aevb.vae import VAE

TOLERANCE = 1e-5
"""Largest difference of an ONNX graph from the model, relative to the largest value."""


class Encoder(nn.Module):
    """x (B, *data_shape), and c if the model needs it → mean and standard deviation of q(z|x), (B, latent_dim) each."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.q = vae.q

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        posterior = self.q.given(c)(x)
        return posterior.mean, posterior.stddev


class Decoder(nn.Module):
    """z (B, latent_dim), and c if the model needs it → the mean of p(x|z), (B, *data_shape)."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.p = vae.p

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return self.p.given(c).likelihood(z[None]).mean[0]


def write_graphs(vae: VAE, folder: Path, formats: Sequence[str]) -> list[str]:
    """Write encoder.pt2, decoder.pt2, encoder.onnx and decoder.onnx, by `formats`; returns what is left out, and why.

    The batch has any size. ONNX graphs are compared with the model, by onnxruntime. Graphs take a condition where the
    model needs one; those of sequences are of full length.
    """
    c = (torch.rand(3, *(vae.condition_shape or ())),) if vae.needs_condition else ()
    inputs = {"encoder": torch.rand(3, *vae.p.data_shape), "decoder": torch.randn(3, vae.p.latent_dim)}
    modules: dict[str, nn.Module] = {"encoder": Encoder(vae), "decoder": Decoder(vae)}
    left_out = []
    with torch.no_grad():
        posterior = vae.q.given(c[0] if c else None)(inputs["encoder"])
        if closed_moment(posterior, "mean") is None or closed_moment(posterior, "variance") is None:
            del modules["encoder"]
            left_out.append("the encoder, as q(z|x) has no mean and standard deviation in closed form")
    for name, module in modules.items():
        arguments = (inputs[name], *c)
        with torch.no_grad():
            expected = module(*arguments)
        batch = torch.export.Dim("batch", min=1, max=1 << 20)
        shapes = tuple({0: batch} for _ in arguments)
        try:
            program = torch.export.export(module.eval(), arguments, dynamic_shapes=shapes)
        except Exception as error:  # whatever torch cannot trace in a part
            left_out.append(f"the {name}, which torch.export cannot trace: {first_line(error)}")
            continue
        if "torch_export" in formats:
            torch.export.save(program, folder / f"{name}.pt2")
        if "onnx" in formats:
            write_onnx(program, arguments, expected, folder / f"{name}.onnx")
    return left_out


def write_onnx(program: Any, arguments: Sequence[Tensor], expected: Any, path: Path) -> None:
    """Write a graph as ONNX, and compare its outputs with those of the model."""
    with extra("onnx", "formats=[onnx]"):
        import onnxruntime
        import onnxscript  # noqa: F401 - torch.onnx needs it
    torch.onnx.export(program, f=str(path), external_data=False, verbose=False)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    found = session.run(None, {name: x.numpy() for name, x in zip(names, arguments, strict=True)})
    for of_model, of_graph in zip(expected if isinstance(expected, tuple) else (expected,), found, strict=True):
        difference = float((of_model - torch.from_numpy(of_graph)).abs().max() / of_model.abs().max().clamp(min=1))
        if not difference <= TOLERANCE:
            path.unlink()
            raise ConfigError(f"formats: {path.name} differs from the model by {difference:.1e}, and was removed")
