"""A run folder with an untrained model."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from aevb.config import instantiate
from aevb.runs.folder import RunFolder

CONFIG = """
model:
  _target_: aevb.vae.VAE
  latent_dim: 2
  data_shape: [1, 4, 4]
  encoder: {_target_: aevb.networks.MLPEncoder, _partial_: true, hidden: [3]}
  posterior: {_target_: aevb.posteriors.DiagonalGaussian, _partial_: true}
  prior: {_target_: aevb.priors.StandardNormal, _partial_: true}
  decoder: {_target_: aevb.networks.MLPDecoder, _partial_: true, hidden: [3]}
  likelihood: {_target_: aevb.likelihoods.Bernoulli, _partial_: true}
objective: {_target_: aevb.objectives.SGVB}
optimizer: {_target_: torch.optim.Adagrad, _partial_: true}
"""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run folder with an untrained model."""
    run = RunFolder(tmp_path / "run")
    config = OmegaConf.create(CONFIG)
    run.create(config, [])
    run.best_checkpoint.parent.mkdir()
    weights = {f"vae.{name}": weight for name, weight in instantiate(config.model).state_dict().items()}
    torch.save({"state_dict": weights, "samples": 7}, run.best_checkpoint)
    return run
