"""Student's t-distribution with one number of degrees of freedom against torch's own."""

import torch
from torch.distributions import StudentT

from aevb.distributions.student_t import StudentTDistribution


def test_density_and_its_gradients_are_those_of_torch() -> None:
    df = torch.tensor(3.5, dtype=torch.float64, requires_grad=True)
    loc, x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True), torch.randn(4, 3, dtype=torch.float64)
    scale = (torch.rand(4, 3, dtype=torch.float64) + 0.2).requires_grad_()
    ours, torchs = StudentTDistribution(df, loc, scale).log_prob(x), StudentT(df, loc, scale).log_prob(x)
    torch.testing.assert_close(ours, torchs)
    for mine, wanted in zip(*(torch.autograd.grad(f.sum(), (df, loc, scale)) for f in (ours, torchs)), strict=True):
        torch.testing.assert_close(mine, wanted)
