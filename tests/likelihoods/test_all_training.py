"""Heads in a whole model: they learn, and bits per dimension are reported where they mean something."""

import math
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from aevb.objectives import SGVB, elbo
from aevb.training.module import AEVB
from aevb.vae import VAE

from ..small import pair, quiet_trainer, small_model

SHAPE = (1, 3, 2)


def model(case: Any) -> VAE:
    torch.manual_seed(0)
    return small_model(SHAPE, likelihood=lambda in_shape, data_shape: case.head(in_shape, data_shape).train())


def test_every_head_learns(case: Any) -> None:
    """A hundred steps of Adam raise the ELBO of data of which half the values never vary."""
    p, q = pair(model(case))
    x = case.data(50, *SHAPE)
    x[..., 0] = x[:1, ..., 0]
    parameters = [*p.parameters(), *q.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.02)
    before = float(elbo(p, q, x, num_samples=10).elbo.mean().detach())
    for _ in range(100):
        loss = elbo(p, q, x).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss.isfinite()
    p.eval()
    after = float(elbo(p, q, x, num_samples=10).elbo.mean().detach())
    assert after > before + 0.5
    assert all(parameter.isfinite().all() for parameter in parameters)


DISCRETE = {"DiscretizedLogistic", "DiscretizedLogisticMixture", "Categorical", "Poisson", "NegativeBinomial"}


def test_bits_per_dim_are_reported_for_discrete_heads_only(case: Any) -> None:
    module = AEVB(model(case), SGVB(weight_prior=False), torch.optim.Adam)
    trainer = quiet_trainer()
    loader = DataLoader(torch.utils.data.TensorDataset(case.data(30, *SHAPE)), batch_size=20)
    trainer.validate(module, loader, verbose=False)
    metrics = trainer.callback_metrics
    assert ("val/bits_per_dim" in metrics) is (case.name in DISCRETE)
    if case.name in DISCRETE:
        assert float(metrics["val/bits_per_dim"]) == pytest.approx(-float(metrics["val/elbo"]) / (6 * math.log(2)))
