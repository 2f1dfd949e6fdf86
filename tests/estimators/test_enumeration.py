"""log p(x) of discrete models by a sum over all z, against sums that are written out."""

import itertools
import math
from functools import partial

import pytest
import torch
from torch.distributions import Bernoulli

from aevb import posteriors, priors
from aevb.errors import ConfigError
from aevb.estimators import ELBO, Enumeration, ImportanceSampling

from ..small import small_model


@pytest.fixture
def vae():
    torch.manual_seed(0)
    model = small_model(
        (1, 2, 2),
        latent_dim=6,
        posterior=partial(posteriors.Concrete, categories=3),
        prior=partial(priors.Categorical, categories=3, learned=True),
    ).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2.5)  # so that z matters to x
    return model.double()


X = torch.tensor([*itertools.product([0.0, 1.0], repeat=4)]).double().reshape(16, 1, 2, 2)


@torch.no_grad()
def by_hand(vae):
    """log p(x) and the ELBO of all x, by a loop over the two groups' categories."""
    total, bound = torch.zeros(16).double(), torch.zeros(16).double()
    pi, q = vae.p.prior.logits.softmax(-1), vae.q.head.layer(vae.q.encoder(X)).unflatten(-1, (2, 3)).softmax(-1)
    for a, b in itertools.product(range(3), repeat=2):
        z = torch.zeros(1, 1, 6).double()
        z[0, 0, a] = z[0, 0, 3 + b] = 1
        logits = vae.p.head.layer(vae.p.decoder(z))[0, 0]
        joint = Bernoulli(logits=logits).log_prob(X.flatten(1)).sum(-1) + (pi[0, a] * pi[1, b]).log()
        q_z = q[:, 0, a] * q[:, 1, b]
        total += joint.exp()
        bound += q_z * (joint - q_z.log())
    return total.log(), bound


@pytest.mark.parametrize("rows", [1, 50, 1000])
def test_it_is_the_sum_over_all_z(vae, rows):
    found = Enumeration().estimate(vae, X, rows)
    log_p, elbo = by_hand(vae)
    assert torch.allclose(found.value, log_p)
    assert torch.allclose(found.diagnostics["exact_elbo"], elbo)
    assert float(found.value.exp().sum()) == pytest.approx(1)  # x has 16 values


def test_other_estimators_agree_with_it(vae):
    exact = Enumeration().estimate(vae, X, 1000)
    torch.manual_seed(0)
    elbo = ELBO(num_samples=5000).estimate(vae, X, 10_000)
    assert ((elbo.value - exact.diagnostics["exact_elbo"]).abs() < 5 * elbo.variance.sqrt() + 1e-6).all()
    weighted = ImportanceSampling(num_samples=5000).estimate(vae, X, 10_000)
    assert ((weighted.value - exact.value).abs() < 5 * weighted.variance.sqrt() + 1e-6).all()


def test_with_the_exact_posterior_the_elbo_is_log_p_of_x():
    torch.manual_seed(0)
    vae = small_model(
        (1, 2, 2),
        latent_dim=3,
        posterior=partial(posteriors.Concrete, categories=3),
        prior=partial(priors.Categorical, categories=3),
        encoder=lambda shape: by_bayes,
    )
    by_bayes.joint = [lambda x: vae.p.log_joint(x, torch.eye(3).unsqueeze(1)).T]
    with torch.no_grad():
        vae.q.head.layer.weight.copy_(torch.eye(3))
        vae.q.head.layer.bias.zero_()
    found = Enumeration().estimate(vae.eval(), X.float(), 100)
    assert torch.allclose(found.diagnostics["exact_elbo"], found.value, atol=1e-5)


class ByBayes(torch.nn.Module):
    """Gives log p(x, z) of the three z: the logits of p(z|x)."""

    out_shape = (3,)
    joint: list

    def forward(self, x):
        return self.joint[0](x)


by_bayes = ByBayes()


def test_models_that_it_cannot_sum_are_refused(vae):
    with pytest.raises(ConfigError, match=r"estimators\.enumeration\.most must be at least 3\^2, .* got 8"):
        Enumeration(most=8).estimate(vae, X, 10)
    with pytest.raises(ConfigError, match="needs discrete latent variables, model/posterior=concrete"):
        Enumeration().estimate(small_model((1, 2, 2)), X.float(), 10)


def test_as_many_values_as_are_allowed_are_summed():
    of_groups = {
        "posterior": partial(posteriors.Concrete, categories=3),
        "prior": partial(priors.Categorical, categories=3),
    }
    vae = small_model((1, 2, 2), latent_dim=15, **of_groups).eval()  # in floats, 5 log 3 > log 243
    assert math.isfinite(Enumeration(most=3**5).estimate(vae, X.float(), 1000).mean)
