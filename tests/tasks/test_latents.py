"""What the task latents finds in models whose answer is known."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from aevb.data import Split
from aevb.distributions.gaussian import diagonal_gaussian
from aevb.distributions.sequence import Steps
from aevb.likelihoods import Bernoulli
from aevb.networks import MLPDecoder, MLPEncoder
from aevb.posteriors import Dirichlet, FullGaussian, InverseAutoregressiveFlow
from aevb.posteriors import Markov as MarkovPosterior
from aevb.priors import ConditionalGaussian
from aevb.priors import Dirichlet as DirichletPrior
from aevb.priors import Markov as MarkovPrior
from aevb.sequences import SequenceVAE
from aevb.tasks import Latents
from aevb.tasks.latents import variance_of_means

from ..cvae import linear_cvae
from ..small import small_model
from .known import collapsed_model, normal_data, run


@pytest.mark.parametrize("active", [0, 2, 4])
def test_active_units_and_collapse_are_reported(active):
    found = run(Latents(), collapsed_model(active), normal_data(500))
    assert found.results["active_units"] == active
    assert found.results["active"] == list(range(active))
    start = {
        0: "posterior collapse: none of the 4",
        2: "2 of 4 latent variables are active",
        4: "no posterior collapse",
    }
    assert found.words[0].startswith(start[active])
    assert active != 2 or found.words[0].endswith(": 2, 3")


def test_kl_is_the_closed_form_in_each_dimension():
    std, x = 0.2, normal_data(500)
    found = run(Latents(), collapsed_model(2, std=std), x)
    expected = 0.5 * (x.flatten(1)[:, :2].square().mean(0) + std**2 - 1 - 2 * math.log(std))
    assert torch.allclose(torch.tensor(found.results["kl_per_dimension"][:2], dtype=torch.float64), expected.double())
    assert found.results["kl_per_dimension"][2:] == pytest.approx([0, 0])
    assert found.results["kl"] == pytest.approx(float(expected.sum()))


def test_kl_splits_into_information_and_distance_from_the_prior():
    """With x ~ N(0, 1), q(z) = N(0, spread² + std²) in one dimension: both parts have closed forms."""
    spread, std = 0.6, 0.5
    variance = spread**2 + std**2
    found = run(Latents(), collapsed_model(1, spread=spread, std=std), normal_data(2000)).results
    assert found["mutual_information"] == pytest.approx(0.5 * math.log(variance / std**2), abs=0.06)
    assert found["kl_aggregate"] == pytest.approx(0.5 * (variance - 1 - math.log(variance)), abs=0.03)
    assert found["aggregate_std"][0] == pytest.approx(math.sqrt(variance), abs=0.05)
    assert found["mutual_information"] + found["kl_aggregate"] == pytest.approx(found["kl"])


def test_information_near_its_limit_is_reported_as_a_bound():
    found = run(Latents(aggregate_size=50), collapsed_model(4, spread=300, std=0.001), normal_data(60))
    assert found.results["mutual_information"] == pytest.approx(math.log(50), abs=0.001)
    assert "at least 3.91 are information about x (50 datapoints can show 3.91), and at most" in found.words[1]


def test_means_are_coloured_by_the_first_of_several_labels():
    x, y = normal_data(30), torch.arange(30) % 3
    of_one, of_two = (
        run(Latents(), collapsed_model(2), x, labels).pictures for labels in (y, torch.stack([y, 2 * y], 1))
    )
    colours = [pictures["means"].axes[0].collections[-1].get_array().tolist() for pictures in (of_one, of_two)]
    assert colours == [y.tolist()] * 2


def test_padding_of_sequences_is_in_no_variance():
    """Of steps t with the means [(t + 1) a, 7], a ~ N(0, 1), over the datapoints that have the step."""
    torch.manual_seed(0)
    a, lengths = torch.randn(60), torch.randint(1, 5, (60,)).float()
    means = torch.stack([torch.outer(a, torch.arange(1.0, 5)), torch.full((60, 4), 7.0)], -1)
    vae = SimpleNamespace(
        encode=lambda x, c: Steps(diagonal_gaussian(means, torch.zeros_like(means)), lengths, flat=True),
        p=SimpleNamespace(prior=SimpleNamespace(support="real")),
    )
    variance = variance_of_means(vae, Split(torch.zeros(60, 4, 1), c=lengths)).view(4, 2)
    for step in range(4):
        expected = (step + 1) ** 2 * float(a[lengths > step].var())
        assert variance[step].tolist() == pytest.approx([expected, 0.0], abs=1e-5)


def test_the_variance_of_constrained_means_is_relative_to_the_prior():
    vae = small_model((1, 1, 5), latent_dim=5, posterior=Dirichlet, prior=partial(DirichletPrior, alpha=0.5))
    x = torch.rand(40, 1, 1, 5)
    means = vae.encode(x).mean
    relative = variance_of_means(vae, Split(x)) / means.var(0)
    assert torch.allclose(relative, torch.full((5,), 2.5**2 * 3.5 / (0.5 * 2)))  # 1 / Var z_j, Σ α = 2.5


@pytest.mark.parametrize("posterior", [FullGaussian, InverseAutoregressiveFlow])
def test_posteriors_that_do_not_factorize_have_no_kl_per_dimension(posterior):
    found = run(Latents(), small_model((1, 4, 4), posterior=posterior), torch.rand(20, 1, 4, 4)).results
    assert found["kl_per_dimension"] is None
    assert found["kl"] > 0
    assert len(found["variance_of_means"]) == 2


class WithoutMean(Distribution):
    """N(scale x, 1) of the first two values of x, which cannot say its mean, as a flow cannot."""

    def __init__(self, x: Tensor, scale: float) -> None:
        self.normal = Normal(scale * x.flatten(1)[:, :2], 1.0)
        super().__init__(event_shape=torch.Size((2,)), validate_args=False)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        return self.normal.sample(sample_shape)


@pytest.mark.parametrize("scale", [0.0, 0.5])
def test_variance_of_estimated_means_does_not_count_the_noise_of_draws(scale):
    vae = small_model((1, 1, 5))
    vae.encode = lambda x, c: WithoutMean(x, scale)
    torch.manual_seed(0)
    variance = variance_of_means(vae, Split(normal_data(4000)))
    assert torch.allclose(variance, torch.full((2,), scale**2, dtype=torch.float64), atol=max(0.002, 0.1 * scale**2))


def test_a_model_given_conditions_is_asked_at_those_of_its_datapoints():
    model = linear_cvae(num_data=60)
    torch.manual_seed(0)
    found = Latents().run(model.vae, Split(model.x, None, model.c), Split(model.x), 100).results
    posterior = model.vae.encode(model.x, model.c)
    expected = torch.distributions.kl_divergence(posterior, model.vae.p.prior()).mean()
    assert found["kl"] == pytest.approx(float(expected))
    assert found["variance_of_means"] == pytest.approx(posterior.mean.var(0).tolist())
    assert found["mutual_information"] + found["kl_aggregate"] == pytest.approx(found["kl"])


def test_a_prior_that_depends_on_the_condition_has_no_aggregate():
    model = linear_cvae(num_data=6)
    model.vae.p.prior = ConditionalGaussian(2, condition_shape=(3,), hidden=[4]).double()
    data = Split(model.x, None, model.c)
    found = Latents().run(model.vae, data, data, 100).results
    given = model.vae.given(model.c, 6)
    expected = torch.distributions.kl_divergence(given.q(model.x), given.p.prior()).mean()
    assert found["kl"] == pytest.approx(float(expected.detach()))
    assert "kl_aggregate" not in found


def test_the_kl_of_each_step_is_over_the_sequences_that_have_it():
    torch.manual_seed(0)
    encoder, decoder = (partial(kind, hidden=[5]) for kind in (MLPEncoder, MLPDecoder))
    heads = [partial(kind, step_dim=2) for kind in (MarkovPosterior, MarkovPrior)]
    vae = SequenceVAE(8, 2, (4, 3), encoder, *heads, decoder, Bernoulli)
    data = Split(torch.randint(2, (30, 4, 3)).float(), None, torch.tensor([3.0, 1.0]).repeat(15))
    found = Latents().run(vae, data, data, 100)
    steps = found.results["kl_per_step"]
    assert len(steps) == 3  # no sequence has a fourth step
    assert steps[0] + 0.5 * (steps[1] + steps[2]) == pytest.approx(found.results["kl"], rel=0.1)
    assert set(found.pictures) == {"per_dimension", "per_step"}  # padding has no means
    title = f"{found.results['kl']:.2f} nats in all; of a step, over the sequences that have it"  # no sum of the bars
    assert found.pictures["per_step"].axes[0].get_title() == title
