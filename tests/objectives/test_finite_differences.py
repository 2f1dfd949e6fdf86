"""The gradient of the SGVB estimator, with the noise held fixed, by finite differences in every weight."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from aevb.likelihoods import Bernoulli, Gaussian
from aevb.objectives import SGVB

from ..small import pair, small_model


class Loss(nn.Module):
    """The loss as a function of the weights alone."""

    def __init__(self, likelihood, kl: str) -> None:
        super().__init__()
        self.p, self.q = pair(small_model((1, 2, 2), hidden=3, likelihood=likelihood))
        self.objective = SGVB(num_samples=2, kl=kl)
        self.objective.num_data = 10

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return self.objective(self.p, self.q, x).loss


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
@pytest.mark.parametrize("likelihood", [Bernoulli, Gaussian])
def test_gradient_of_every_weight(likelihood, kl):
    torch.manual_seed(0)
    loss = Loss(likelihood, kl).double()
    x = torch.rand(3, 1, 2, 2, dtype=torch.float64)
    names = [name for name, _ in loss.named_parameters()]
    weights = [weight.detach().clone().requires_grad_() for weight in loss.parameters()]

    def of_weights(*values: torch.Tensor) -> torch.Tensor:
        return functional_call(loss, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(of_weights, weights)
