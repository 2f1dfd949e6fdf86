"""Models with discrete codes: their bound, their loss, training and the run folder."""

import math
from functools import partial

import pytest
import torch
from torch.distributions import kl_divergence
from torch.nn.functional import binary_cross_entropy_with_logits

from aevb.errors import ConfigError
from aevb.objectives import IWAE, SGVB
from aevb.objectives.base import elbo
from aevb.posteriors import Quantized
from aevb.priors import Codes, VampPrior
from aevb.runs.load import load_run
from aevb.training.module import AEVB

from ..codes import QUANTIZERS, code_model
from ..small import small_model

X = torch.randint(2, (6, 1, 4, 4), generator=torch.Generator().manual_seed(0)).float()


def model(**settings):
    """A model whose codebook has followed one minibatch."""
    torch.manual_seed(0)
    vae = code_model(**settings)
    features = vae.q(X[..., : vae.p.data_shape[1], : vae.p.data_shape[2]]).features.detach()
    vae.p.prior.quantizer.update(features, torch.zeros(features.shape[:-1], dtype=torch.long))
    return vae


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("network", [None, "small"])
def test_the_elbo_is_the_log_likelihood_less_the_code_length(quantizer, network):
    vae = model(quantizer=quantizer, **({"network": None} if network is None else {}))
    posterior = vae.q(X)
    found = elbo(vae.p, vae.q, X)
    logits = vae.p.head.layer(vae.p.decoder(posterior.value))
    expected = -binary_cross_entropy_with_logits(logits, X, reduction="none").flatten(1).sum(-1)
    torch.testing.assert_close(found.log_likelihood, expected)
    length = -vae.p.prior().log_prob(posterior.value)
    torch.testing.assert_close(found.kl, length)
    if network is None:
        torch.testing.assert_close(length, torch.full((6,), 4 * math.log(vae.p.prior.quantizer.num_codes)))
    torch.testing.assert_close(found.elbo, expected - length)
    # The bound is log p(x, k) of the one code that q allows.
    torch.testing.assert_close(vae.log_marginal(X, 3), found.elbo.detach())
    torch.testing.assert_close(vae.elbo(X), found.elbo.detach())
    assert 1 <= float(found.extras["perplexity"]) <= vae.p.prior.quantizer.num_codes


def test_the_elbo_is_below_the_sum_over_all_codes():
    vae = model(sides=2)
    k = torch.arange(5)
    joint = vae.p.log_joint(X[..., :2, :2], vae.p.prior.quantizer.vectors(k).unsqueeze(1).expand(5, 6, 2))
    assert (elbo(vae.p, vae.q, X[..., :2, :2]).elbo <= joint.logsumexp(0)).all()


def test_the_loss_adds_the_commitment_and_the_bound_does_not():
    plain, vae = (model(commitment=commitment) for commitment in (0.0, 0.7))
    posterior = vae.q(X)
    distance = (posterior.features - posterior.value.unflatten(-1, (-1, 2))).square().sum((1, 2))
    found, without = SGVB(weight_prior=False)(vae.p, vae.q, X), SGVB(weight_prior=False)(plain.p, plain.q, X)
    assert torch.equal(found.elbo, without.elbo)
    assert torch.equal(without.loss, -without.elbo.mean())
    torch.testing.assert_close(found.extras["auxiliary_loss"], 0.7 * distance)
    torch.testing.assert_close(found.loss, -found.elbo.mean() + 0.7 * distance.mean())
    assert SGVB(weight_prior=False).evaluate(vae.p, vae.q, X).loss == -vae.elbo(X).mean()


@pytest.mark.parametrize("settings", [{}, {"beta": 1.0, "beta_warmup_samples": 1}, {"beta": 2.0}])
def test_sgvb_weighs_the_code_length(settings):
    vae, objective = model(), SGVB(weight_prior=False, **settings)
    objective.samples_seen.fill_(10)
    found = objective(vae.p, vae.q, X)
    beta = settings.get("beta", 1.0)
    torch.testing.assert_close(
        found.loss, beta * found.kl.mean() - found.log_likelihood.mean() + found.extras["auxiliary_loss"].mean()
    )


def test_gradients_pass_straight_through_to_the_encoder_and_the_code_length_has_none_for_it():
    vae = model(commitment=0.0)
    posterior = vae.q(X)
    z = posterior.value.detach().requires_grad_()
    (expected,) = torch.autograd.grad(vae.p.likelihood(z[None]).log_prob(X).sum(), z)
    (gradient,) = torch.autograd.grad(vae.p.likelihood(posterior.rsample((1,))).log_prob(X).sum(), posterior.features)
    torch.testing.assert_close(gradient, expected.unflatten(-1, (-1, 2)))
    found = elbo(vae.p, vae.q, X)
    of_q = torch.autograd.grad(found.kl.sum(), list(vae.q.parameters()), allow_unused=True, retain_graph=True)
    assert all(part is None for part in of_q)
    of_prior = torch.autograd.grad(found.kl.sum(), list(vae.p.prior.parameters()))
    assert all(part.any() for part in of_prior[-2:])


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_with_a_temperature_the_code_length_has_the_gradient_of_its_mean_over_a_soft_assignment(quantizer):
    plain, vae = (model(quantizer=quantizer, commitment=0.0, rate_temperature=t).double() for t in (0.0, 0.8))
    posterior, (value, expected) = vae.q(X), (elbo(m.p, m.q, X) for m in (vae, plain))
    assert torch.equal(value.kl, expected.kl)
    assert torch.equal(value.elbo, expected.elbo)
    # By finite differences along a direction, with the prior's conditionals held at the codes.
    network, of_codes, vectors = vae.p.prior.quantizer, vae.p.prior().of_codes, vae.p.prior.quantizer.vectors
    log_p = of_codes.conditionals(posterior.codes).logits.detach()
    e = vectors(torch.arange(network.num_codes))

    def mean_length(h):
        distance = (network.squashed(h).unsqueeze(-2) - e).square().sum(-1)
        weight = (-distance / 0.8).exp()
        return -(weight / weight.sum(-1, keepdim=True) * log_p).sum()

    (found,) = torch.autograd.grad(kl_divergence(posterior, vae.p.prior()).sum(), posterior.features)
    h, direction = posterior.features.detach(), torch.randn_like(posterior.features)
    slope = (mean_length(h + 1e-6 * direction) - mean_length(h - 1e-6 * direction)) / 2e-6
    assert float((found * direction).sum()) == pytest.approx(float(slope), rel=1e-6)
    assert float(slope) != 0
    sharp = (-(network.squashed(h).unsqueeze(-2) - e).square().sum(-1) / 1e-9).softmax(-1)
    torch.testing.assert_close(-(sharp * log_p).sum((-1, -2)), value.kl)  # at temperature 0 it is the length itself


def test_the_prior_has_the_gradient_of_the_code_length_at_any_temperature():
    plain, vae = (model(rate_temperature=t) for t in (0.0, 0.8))
    found, expected = (
        torch.autograd.grad(elbo(m.p, m.q, X).kl.sum(), list(m.p.prior.parameters())) for m in (vae, plain)
    )
    assert all(map(torch.equal, found, expected))


def test_the_codebook_follows_training_steps_alone():
    vae = model()
    before = vae.p.prior.quantizer.codebook.clone()
    elbo(vae.p, vae.q, X)
    SGVB().evaluate(vae.p, vae.q, X)
    with torch.no_grad():
        SGVB(weight_prior=False)(vae.p, vae.q, X)
    assert torch.equal(vae.p.prior.quantizer.codebook, before)
    SGVB(weight_prior=False)(vae.p, vae.q, X)
    assert not torch.equal(vae.p.prior.quantizer.codebook, before)


def test_parts_that_do_not_fit_are_refused_in_one_line():
    with pytest.raises(
        ValueError, match=r"^z is real under prior StandardNormal, but among codes under posterior Quanti"
    ):
        small_model((1, 4, 4), hidden=4, posterior=partial(Quantized, code_dim=2))
    with pytest.raises(ValueError, match=r"^posterior Quantized needs model/prior=codes, got prior VampPrior$"):
        small_model(
            (1, 4, 4), hidden=4, posterior=partial(Quantized, code_dim=2), prior=partial(VampPrior, num_components=2)
        )
    with pytest.raises(ValueError, match=r"^posterior.code_dim must be that of the prior, 2, got 1$"):
        small_model((1, 4, 4), hidden=4, posterior=partial(Quantized, code_dim=1), prior=CODES)
    with pytest.raises(ValueError, match=r"^needs an encoder with features for each of 3 codes, got 10 features$"):
        Quantized(10, 6, code_dim=2)
    with pytest.raises(ValueError, match=r"^latent_dim must be a multiple of code_dim, 2, got 5$"):
        Quantized(10, 5, code_dim=2)
    with pytest.raises(ConfigError, match=r"^objective IWAE cannot train posterior Quantized, .*objective=sgvb$"):
        AEVB(code_model(), IWAE(), torch.optim.Adam)


CODES = partial(Codes, code_dim=2, quantizer=QUANTIZERS["codebook"])

RUN = (
    "model=vq", "model.encoder.width=8", "model.prior.network.width=16", "model.prior.quantizer.num_codes=8",
    "optimizer=adam", "logger=none",
)  # fmt: skip


def test_a_run_trains_and_its_folder_has_the_model(run_train, tmp_path):
    folder, value = run_train(*RUN, "max_samples=3000")
    assert value is not None
    assert value > -50
    vae = load_run(folder.path)
    assert vae.p.prior.quantizer.counts.sum() > 100
    x = vae.sample(4)
    assert x.shape == (4, 1, 8, 8)
    assert vae.reconstruct(x.round()).shape == x.shape
    assert {path.name.split("_", 1)[1] for path in folder.images.glob("*.png")} == {
        "latents.png", "reconstructions.png", "samples.png", "samples_drawn.png",
    }  # fmt: skip


def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(run_train, tmp_path):
    settings = (*RUN, "callbacks.images=null")
    whole, _ = run_train(*settings, "max_samples=2800", folder=tmp_path / "whole")
    part, _ = run_train(*settings, "max_samples=1400", folder=tmp_path / "part")
    resumed, _ = run_train("max_samples=2800", f"resume={part.path}", folder=part.path)
    weights = [torch.load(run.last_checkpoint, weights_only=False)["state_dict"] for run in (whole, resumed)]
    assert any("codebook" in name for name in weights[0])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
