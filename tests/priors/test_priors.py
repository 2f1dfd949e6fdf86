"""Priors and the mixture distribution behind two of them."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn
from torch.distributions import Categorical, Independent, Normal

from aevb import priors
from aevb.distributions.mixture import Mixture
from aevb.likelihoods import Bernoulli
from aevb.networks import MLPDecoder, MLPEncoder, initialize
from aevb.posteriors import DiagonalGaussian, InverseAutoregressiveFlow
from aevb.vae import VAE, GenerativeModel, RecognitionModel

PRIORS = {
    "standard_normal": priors.StandardNormal,
    "laplace": priors.Laplace,
    "student_t": priors.StudentT,
    "mixture": priors.MixtureOfGaussians,
    "vamp": partial(priors.VampPrior, num_components=7),
    "flow": partial(priors.Flow, hidden=[16]),
}
DATA_SHAPE = (1, 4, 4)


def recognition(latent_dim: int = 2, head: type = DiagonalGaussian) -> RecognitionModel:
    encoder = MLPEncoder(DATA_SHAPE, hidden=[8])
    return RecognitionModel(DATA_SHAPE, encoder, head(8, latent_dim)).double()


def make(name: str, latent_dim: int = 2) -> priors.Prior:
    """A prior in float64; the flow with random weights, so that it is not the identity."""
    torch.manual_seed(0)
    prior = PRIORS[name](latent_dim)
    if name == "flow":
        for parameter in prior.parameters():
            nn.init.normal_(parameter, std=0.3)
    prior.connect(None, recognition(latent_dim))
    return prior.double()


def grid(points: int = 301, bound: float = 15.0) -> torch.Tensor:
    axis = torch.linspace(-bound, bound, points, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("latent_dim", [1, 2, 6])
def test_shapes(name, latent_dim):
    prior = make(name, latent_dim)()
    assert (prior.batch_shape, prior.event_shape) == ((), (latent_dim,))
    assert prior.sample((4, 3)).shape == (4, 3, latent_dim)
    assert prior.sample().shape == (latent_dim,)
    z = torch.randn(4, 3, latent_dim, dtype=torch.float64)
    assert prior.log_prob(z).shape == (4, 3)
    assert torch.allclose(prior.log_prob(z)[1, 2], prior.log_prob(z[1, 2]))


@pytest.mark.parametrize("name", PRIORS)
def test_density_integrates_to_one(name):
    z = grid()
    mass = make(name)().log_prob(z).exp().sum() * (z[1, 1] - z[0, 1]) ** 2
    assert mass.item() == pytest.approx(1, abs=5e-3)


@pytest.mark.parametrize("name", PRIORS)
def test_samples_follow_the_density(name):
    prior = make(name)()
    z = grid()
    mass = prior.log_prob(z).exp()
    mass = mass / mass.sum()
    samples = prior.sample((40_000,))
    for statistic in (torch.tanh, lambda z: z.abs().clamp(max=3), lambda z: torch.tanh(z.prod(-1, keepdim=True))):
        values = statistic(samples)
        error = values.std(0) / math.sqrt(len(samples))
        assert ((values.mean(0) - (mass[:, None] * statistic(z)).sum(0)).abs() < 5 * error + 2e-3).all()


@pytest.mark.parametrize("name", PRIORS)
def test_inference_mode_changes_nothing(name):
    """Lightning validates in it; its tensors count no changes in place."""
    prior, results = make(name), []
    for mode in (torch.no_grad, torch.inference_mode):
        torch.manual_seed(3)
        with mode():
            distribution = prior()
            z = distribution.sample((4, 3))
            results.append((z, distribution.log_prob(z), distribution.log_prob(z.clone())))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize(
    ("prior", "reference"),
    [
        (priors.StandardNormal(3), scipy.stats.norm()),
        (priors.Laplace(3, scale=0.7), scipy.stats.laplace(scale=0.7)),
        (priors.StudentT(3, df=4, scale=0.7), scipy.stats.t(4, scale=0.7)),
    ],
)
def test_fixed_priors_are_scipys(prior, reference):
    z = 4 * torch.randn(5, 2, 3)
    assert np.allclose(prior().log_prob(z), reference.logpdf(z).sum(-1), rtol=1e-5)
    assert not list(prior.parameters())


def test_mixture_is_scipys_sum():
    prior = make("mixture", 3)
    nn.init.normal_(prior.logits)
    nn.init.normal_(prior.log_variances)
    weights = prior.logits.softmax(0).tolist()
    parts = [
        weight * scipy.stats.multivariate_normal(mean, np.diag(np.exp(log_variance))).pdf(np.ones((1, 3)))
        for weight, mean, log_variance in zip(
            weights, prior.means.detach().numpy(), prior.log_variances.detach().numpy(), strict=True
        )
    ]
    assert prior().log_prob(torch.ones(3, dtype=torch.float64)).item() == pytest.approx(math.log(sum(parts)))


def test_mixture_starts_with_unit_variance():
    torch.manual_seed(0)
    prior = priors.MixtureOfGaussians(50, num_components=200)()
    assert prior.variance.mean().item() == pytest.approx(1, abs=0.03)


def test_mixture_draws_every_component_as_often_as_its_weight():
    torch.manual_seed(0)
    weights = torch.tensor([0.5, 0.0, 0.3, 0.2])
    components = Independent(Normal(torch.arange(4.0).double()[:, None].expand(4, 2), 1e-3), 1)
    mixture = Mixture(Categorical(weights), components)
    samples = mixture.sample((100, 200))
    chosen = samples[..., 0].round().long().flatten()
    assert torch.equal(chosen, samples[..., 1].round().long().flatten())
    counts = chosen.bincount(minlength=4)
    assert counts[1] == 0
    assert scipy.stats.chisquare(counts[[0, 2, 3]], 20_000 * weights[[0, 2, 3]].double() / weights.sum()).pvalue > 1e-3
    # Neighbours are independent, so no order of the components is left in the samples, and no draw is used twice.
    pairs = (chosen[1:] == chosen[:-1]).double().mean().item()
    assert pairs == pytest.approx(0.38, abs=0.025)
    assert samples.unique().numel() == samples.numel()


@pytest.mark.parametrize("head", [DiagonalGaussian, partial(InverseAutoregressiveFlow, hidden=[8], context=4)])
def test_vamp_prior_is_the_mean_of_the_posteriors_of_its_pseudo_inputs(head):
    torch.manual_seed(0)
    prior, q = priors.VampPrior(2, num_components=5), recognition(head=head)
    prior.connect(None, q)
    prior.double()
    z = torch.randn(3, 4, 2, dtype=torch.float64)
    inputs = prior.pseudo_inputs()
    densities = [q(inputs[k : k + 1]).log_prob(z).exp() for k in range(5)]
    assert torch.allclose(prior().log_prob(z), torch.stack(densities).mean(0).log())


def test_vamp_priors_gradient_reaches_pseudo_inputs_and_recognition_model():
    torch.manual_seed(0)
    prior, q = priors.VampPrior(2, num_components=5), recognition()
    prior.connect(None, q)
    prior.double()().log_prob(torch.randn(3, 4, 2, dtype=torch.float64)).sum().backward()
    assert (prior.logit_inputs.grad != 0).all()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in q.parameters())


def test_pseudo_inputs_stay_within_the_data():
    prior = priors.VampPrior(2, num_components=5, max_value=20.0)
    prior.connect(None, recognition())
    nn.init.normal_(prior.logit_inputs, std=50)
    inputs = prior.pseudo_inputs()
    assert inputs.shape == (5, *DATA_SHAPE)
    assert inputs.min() >= 0
    assert 10 < inputs.max() <= 20


def with_vamp_prior() -> VAE:
    decoder = MLPDecoder(2, DATA_SHAPE, hidden=[8])
    prior = priors.VampPrior(2, num_components=5)
    p = GenerativeModel(prior, decoder, Bernoulli(decoder.out_shape, DATA_SHAPE))
    return VAE.join(p, recognition().float())


def test_vamp_prior_does_not_own_the_recognition_model():
    both = with_vamp_prior()
    names = [name for name, _ in both.named_parameters(remove_duplicate=False)]
    assert len({id(parameter) for parameter in both.parameters()}) == len(names)
    assert [name for name in both.state_dict() if name.startswith("p.prior")] == ["p.prior.logit_inputs"]
    assert not {id(w) for w in both.p.parameters()} & {id(w) for w in both.q.parameters()}


def test_copy_of_a_model_with_a_vamp_prior_uses_its_own_recognition_model():
    both = with_vamp_prior()
    copied = copy.deepcopy(both)
    z = torch.randn(3, 2)
    before = both.p.prior().log_prob(z)
    assert torch.equal(copied.p.prior().log_prob(z), before)
    for parameter in copied.q.parameters():
        nn.init.normal_(parameter)
    assert torch.equal(both.p.prior().log_prob(z), before)
    assert not torch.allclose(copied.p.prior().log_prob(z), before)


def test_weights_of_a_model_with_a_vamp_prior_can_be_loaded():
    source, target = with_vamp_prior(), with_vamp_prior()
    target.load_state_dict(source.state_dict())
    z = torch.randn(3, 2)
    assert torch.equal(source.p.prior().log_prob(z), target.p.prior().log_prob(z))


def test_vamp_prior_needs_the_recognition_model():
    with pytest.raises(RuntimeError, match="needs the recognition model"):
        priors.VampPrior(2)()


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_flow_starts_as_the_standard_normal(latent_dim):
    prior = priors.Flow(latent_dim)()
    z = 3 * torch.randn(20, latent_dim)
    assert torch.allclose(
        prior.log_prob(z), Independent(Normal(torch.zeros(latent_dim), 1.0), 1).log_prob(z), atol=1e-5
    )


def test_flow_density_of_samples_kept_or_computed_by_the_inverse():
    prior = make("flow", 4)()
    z = prior.sample((20,))
    assert torch.allclose(prior.log_prob(z), prior.log_prob(z.clone()), atol=1e-8)
    kept = prior.rsample((20,))
    assert torch.allclose(prior.log_prob(kept), prior.log_prob(kept.clone()), atol=1e-8)


def test_flow_density_is_the_change_of_variables_by_the_jacobian():
    prior = make("flow", 3)()
    for z in prior.sample((5,)):
        noise = prior.transform.inv(z)
        jacobian = torch.autograd.functional.jacobian(prior.transform.inv, z)
        expected = Normal(0, 1).log_prob(noise).sum() + jacobian.slogdet().logabsdet
        assert torch.allclose(prior.log_prob(z), expected)


@pytest.mark.parametrize("name", ["mixture", "flow", "vamp"])
def test_learned_priors_fit_data_better_than_the_standard_normal(name):
    """Two clusters at ±2 in both dimensions together; KL(p ‖ prior) falls by at least half."""
    torch.manual_seed(0)
    prior = PRIORS[name](2)
    q = recognition().float()
    initialize(q, "normal", std=0.5)
    prior.connect(None, q)
    target = Mixture(Categorical(torch.ones(2)), Independent(Normal(torch.tensor([[-2.0, -2.0], [2.0, 2.0]]), 0.5), 1))
    entropy = -target.log_prob(target.sample((20_000,))).mean().item()
    standard = -priors.StandardNormal(2)().log_prob(target.sample((20_000,))).mean().item() - entropy
    parameters = [*prior.parameters(), *(q.parameters() if name == "vamp" else [])]
    optimizer = torch.optim.Adam(parameters, lr=0.02)
    for _ in range(300):
        loss = -prior().log_prob(target.sample((128,))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fitted = -prior().log_prob(target.sample((2000,))).mean().item() - entropy
    assert fitted < 0.5 * standard


@pytest.mark.parametrize(
    ("make_prior", "message"),
    [
        (partial(priors.Laplace, scale=0), "scale must be a positive number, got 0"),
        (partial(priors.Laplace, scale=float("inf")), "scale must be"),
        (partial(priors.StudentT, df=-1), "df must be a positive number, got -1"),
        (partial(priors.StudentT, scale="wide"), "scale must be"),
        (partial(priors.MixtureOfGaussians, num_components=0), "num_components must be a whole number"),
        (partial(priors.VampPrior, num_components=2.5), "num_components must be a whole number"),
        (partial(priors.VampPrior, max_value=0.0), "max_value must be a positive number"),
        (partial(priors.Flow, transforms=0), "transforms must be"),
        (partial(priors.Flow, bins=1), "bins must be a whole number of at least 2"),
        (partial(priors.Flow, hidden="wide"), "hidden must be a list"),
    ],
)
def test_bad_settings_stop_with_one_line(make_prior, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        make_prior(2)
    assert "\n" not in str(caught.value)
