"""The two models joined from their parts, as classes and as configurations."""

import copy
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf
from torch import nn

import aevb.config  # noqa: F401 - registers the resolvers
from aevb import likelihoods, posteriors, priors
from aevb.likelihoods import Bernoulli
from aevb.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from aevb.objectives import elbo
from aevb.vae import VAE

from .cvae import linear_cvae
from .small import pair

CONF = Path(__file__).parents[1] / "conf"


def options(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / "model" / group).glob("*.yaml"))


def from_config(*overrides: str) -> VAE:
    """The model of a training run, made small."""
    sizes = ["hidden=[8]", "model.latent_dim=3"]
    sizes += ["model.prior.num_components=10"] if "model/prior=vamp" in overrides else []
    if "model/posterior=concrete" in overrides:
        of_categorical = ["model.prior.categories=2"] if "model/prior=categorical" in overrides else []
        sizes += ["model.latent_dim=4", "model.posterior.categories=2", *of_categorical]
    if "model/prior=codes" in overrides:
        sizes += ["model.latent_dim=4", "model.prior.code_dim=1", "model.prior.network.width=8"]
    if "model/prior=conditional_gaussian" in overrides:
        sizes += ["model=conditional", "model.condition_shape=[2]"]
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("train", overrides=[*sizes, *overrides])
    return instantiate(config.model)


def given_labels(vae: VAE, count: int) -> VAE:
    """The VAE, given labels if it takes them."""
    return vae if vae.condition_shape is None else vae.given(torch.eye(2)[torch.arange(count) % 2], count)


def small(**parts) -> VAE:
    torch.manual_seed(0)
    settings = {
        "latent_dim": 3,
        "data_shape": (1, 6, 5),
        "encoder": partial(MLPEncoder, hidden=[8]),
        "posterior": posteriors.DiagonalGaussian,
        "prior": priors.StandardNormal,
        "decoder": partial(MLPDecoder, hidden=[8]),
        "likelihood": Bernoulli,
    }
    return VAE(**(settings | parts))


def support_of(group: str, option: str) -> str:
    return get_class(OmegaConf.load(CONF / "model" / group / f"{option}.yaml")._target_).support


PAIRS = [
    (posterior, prior)
    for posterior in options("posterior")
    for prior in options("prior")
    if (prior == "vamp" and posterior != "quantized")
    or support_of("posterior", posterior) == support_of("prior", prior)
]


@pytest.mark.parametrize(("posterior", "prior"), PAIRS)
def test_every_posterior_with_every_prior_of_its_support_has_a_finite_elbo_and_gradients(posterior, prior):
    torch.manual_seed(0)
    p, q = pair(given_labels(from_config(f"model/posterior={posterior}", f"model/prior={prior}"), 4))
    x = torch.rand(4, 1, 8, 8)
    for num_samples in (1, 3):
        estimate = elbo(p, q, x, num_samples)
        assert estimate.elbo.shape == estimate.kl.shape == (4,)
        assert torch.isfinite(estimate.elbo).all()
        assert torch.isfinite(estimate.kl).all()
        parameters = [*p.parameters(), *q.parameters()]
        gradients = torch.autograd.grad(estimate.loss, parameters, allow_unused=True)
        assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize(("posterior", "prior"), PAIRS)
def test_sampled_and_automatic_kl_agree(posterior, prior):
    """Eq. 6 and eq. 7 of the paper estimate the same bound."""
    torch.manual_seed(0)
    vae = from_config(f"model/posterior={posterior}", f"model/prior={prior}", "model.initialization=pytorch")
    p, q = pair(given_labels(vae, 2).eval())  # in training, the KL of relaxed variables is not that of draws
    x = torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        draws = torch.stack([elbo(p, q, x, 50, kl="sampled").kl for _ in range(20)])
        automatic = torch.stack([elbo(p, q, x, 50).kl for _ in range(20)])
    error = (draws.var(0) / 20 + automatic.var(0) / 20).sqrt()
    assert ((draws.mean(0) - automatic.mean(0)).abs() < 5 * error + 1e-5).all()


def test_the_posterior_of_the_documentation_works():
    page = (CONF.parent / "docs" / "posteriors_and_priors.md").read_text(encoding="utf-8")
    namespace: dict[str, type] = {}
    exec(page.split("```python\n")[1].split("```")[0], namespace)
    p, q = pair(small(posterior=namespace["GumbelPosterior"]))
    assert torch.isfinite(elbo(p, q, torch.rand(4, 1, 6, 5)).elbo).all()


@pytest.mark.parametrize("decoder", options("decoder"))
@pytest.mark.parametrize("encoder", options("encoder"))
def test_every_encoder_with_every_decoder(encoder, decoder):
    p, q = pair(from_config(f"model/encoder={encoder}", f"model/decoder={decoder}"))
    assert torch.isfinite(elbo(p, q, torch.rand(4, 1, 8, 8)).elbo).all()


@pytest.mark.parametrize("shape", [(1, 28, 20), (1, 8, 8), (3, 9, 7)])
@pytest.mark.parametrize("likelihood", [likelihoods.Bernoulli, likelihoods.Gaussian])
def test_convolutional_models_score_and_draw_images_of_their_shape(shape, likelihood):
    encoder = partial(ConvEncoder, channels=[3, 4], hidden=[8], residual=True)
    decoder = partial(ConvDecoder, channels=[4, 3], hidden=[8], residual=True)
    p, q = pair(small(data_shape=shape, encoder=encoder, decoder=decoder, likelihood=likelihood))
    assert isinstance(p.head.layer, nn.Conv2d)
    assert elbo(p, q, torch.rand(4, *shape), 2).elbo.shape == (4,)
    assert p.likelihood(torch.randn(2, 5, 3)).sample().shape == (2, 5, *shape)


def test_elbo_is_below_the_log_marginal_likelihood_of_every_prior():
    """log p(x) of one datapoint by numerical integration over z, against the bound by many samples."""
    z = torch.linspace(-40, 40, 20_001)[:, None]
    x = torch.rand(1, 1, 6, 5).round()
    for prior in (
        priors.StandardNormal,
        priors.Laplace,
        priors.StudentT,
        priors.MixtureOfGaussians,
        partial(priors.VampPrior, num_components=5),
        priors.Flow,
    ):
        p, q = pair(small(latent_dim=1, prior=prior))
        with torch.no_grad():
            log_marginal = p.log_joint(x, z[:, None]).logsumexp(0) + math.log(80 / 20_000)
            bounds = torch.stack([elbo(p, q, x, 1000, kl="sampled").elbo for _ in range(10)])
        assert bounds.mean() < log_marginal + 5 * bounds.std() / math.sqrt(10)


@pytest.mark.parametrize(
    "parts",
    [
        {"posterior": partial(posteriors.InverseAutoregressiveFlow, hidden=[8], context=4)},
        {"posterior": partial(posteriors.SplineFlow, hidden=[8], context=4)},
        {"prior": partial(priors.Flow, hidden=[8])},
    ],
)
def test_initialisation_leaves_flows_at_the_identity(parts):
    p, q = pair(small(**parts, initialization="normal", initialization_std=3.0))
    posterior, prior = q(torch.rand(2, 1, 6, 5)), p.prior()
    noise = torch.randn(10, 2, 3)
    for distribution in (posterior, prior):
        if hasattr(distribution, "transform"):
            assert torch.allclose(distribution.transform(noise), noise, atol=1e-5)


def test_initialisation_leaves_pseudo_inputs_and_mixtures():
    p, _ = pair(small(prior=partial(priors.VampPrior, num_components=200), initialization_std=5.0))
    assert p.prior.logit_inputs.std().item() == pytest.approx(1, abs=0.05)
    p, _ = pair(small(prior=priors.MixtureOfGaussians, initialization_std=5.0))
    assert not p.prior.logits.any()


def test_parameters_of_the_two_models_do_not_overlap():
    p, q = pair(small(prior=partial(priors.VampPrior, num_components=5)))
    assert not {id(weight) for weight in p.parameters()} & {id(weight) for weight in q.parameters()}
    joined = nn.ModuleDict({"p": p, "q": q})
    copied = copy.deepcopy(joined)
    names = list(dict(joined.named_parameters(remove_duplicate=False)))
    assert len(names) == len(set(names)) == len(list(joined.parameters()))
    copied.load_state_dict(joined.state_dict())
    z = torch.randn(2, 3)
    assert torch.equal(copied["p"].prior().log_prob(z), p.prior().log_prob(z))


def test_log_joint_is_the_sum_of_its_parts():
    p, _ = pair(small())
    x, z = torch.rand(4, 1, 6, 5), torch.randn(2, 4, 3)
    expected = p.likelihood(z).log_prob(x) + p.prior().log_prob(z)
    assert torch.equal(p.log_joint(x, z), expected)
    assert (p.latent_dim, p.data_shape) == (3, (1, 6, 5))


@pytest.mark.parametrize("latent_dim", [0, 2.5, "two", None, True])
def test_latent_dim_must_be_a_positive_whole_number(latent_dim):
    with pytest.raises(ValueError, match=r"^latent_dim must be a whole number"):
        small(latent_dim=latent_dim)


def test_a_linear_model_given_a_condition_has_its_exact_marginal_likelihood():
    model = linear_cvae()
    vae, x, c = model
    exact = model.log_marginal(x, c)
    torch.testing.assert_close(vae.log_marginal(x, num_samples=1, c=c), exact)  # q is exact: one draw suffices
    assert (vae.elbo(x, 20_000, c=c) - exact).abs().max() < 0.05
    assert not torch.allclose(vae.log_marginal(x, 1, c=c.flip(0)), exact)
    given = vae.given(c, len(x))
    assert torch.equal(given.encode(x).mean, vae.encode(x, c).mean)
    z = torch.randn(6, len(x), 2)
    assert torch.equal(vae.decode(z, c).mean[3], vae.decode(z[3], c).mean)
    assert vae.p.condition is None
    assert vae.reconstruct(x, c).shape == x.shape


def test_draws_given_a_condition_have_its_mean():
    vae, _, c = linear_cvae(num_data=2)
    draws = vae.sample(40_000, mean=False, c=c[:1].expand(40_000, -1)).flatten(1)
    layer = vae.p.head.layer
    expected = c[0] @ layer.weight[:, 2:].T + layer.bias
    assert (draws.mean(0) - expected).abs().max() < 0.05


@pytest.mark.parametrize(
    ("c", "message"),
    [
        (None, r"^the model needs a condition of shape \[3\] for each of the 4 datapoints, but none is given$"),
        (torch.zeros(4, 2), r"^the model needs a condition of shape \[3\] .*, got c of shape \(4, 2\)$"),
        (torch.zeros(3, 3), r"^the model needs a condition of shape \[3\] .*, got c of shape \(3, 3\)$"),
        (torch.full((4, 3), torch.nan), r"^c must be finite, but is NaN for 4 of 4 datapoints"),
    ],
)
def test_a_condition_is_checked(c, message):
    vae, x, _ = linear_cvae()
    with pytest.raises(ValueError, match=message):
        vae.elbo(x, c=c)


def test_a_condition_in_vain_is_refused():
    with pytest.raises(ValueError, match=r"^the model takes no condition, but one is given; "):
        small().sample(4, c=torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"^condition_shape must be .*, which take no condition, got \[3\]$"):
        small(condition_shape=(3,))
    with pytest.raises(ValueError, match=r"^prior VampPrior encodes pseudo-inputs without conditions"):
        small(prior=priors.VampPrior, encoder=partial(MLPEncoder, hidden=[8], condition_shape=(3,)))


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=optimal_gaussian"],
        ["model/encoder=mlp", "model.encoder.dropout=0.5"],
        ["model/posterior=concrete", "model/prior=categorical"],
    ],
    ids=["fitted variance", "dropout", "relaxed draws"],
)
def test_methods_are_those_of_evaluation_also_after_training(overrides):
    vae = from_config("data=digits", "data.shape=[1,8,8]", *overrides).train()
    x = torch.rand(7, 1, 8, 8)

    def found() -> list[torch.Tensor]:
        torch.manual_seed(0)
        sizes = vae.elbo(x, 3), vae.log_marginal(x, 4), vae.sample(5, mean=False), vae.reconstruct(x)
        return [*sizes, vae.encode(x).sample(), vae.decode(torch.rand(1, 7, vae.p.latent_dim)).log_prob(x)]

    in_training = found()
    assert all(part.training for part in vae.modules())
    vae.eval()
    assert all(torch.equal(a, b) for a, b in zip(in_training, found(), strict=True))
