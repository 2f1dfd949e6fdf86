"""Models of sequences against a linear-Gaussian state-space model, whose likelihood the Kalman filter computes."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal, kl_divergence

from aevb import likelihoods, posteriors, priors
from aevb.distributions.gaussian import diagonal_gaussian
from aevb.distributions.sequence import Autoregressive
from aevb.errors import ConfigError
from aevb.estimators import AnnealedImportanceSampling, Estimator, LocalELBO, PosteriorHMC
from aevb.likelihoods import Bernoulli, FixedGaussian
from aevb.networks import MLPDecoder, MLPEncoder
from aevb.objectives import IWAE, SGVB, MonteCarloEM, Objective, ScoreFunction, WakeSleep
from aevb.objectives.base import elbo
from aevb.posteriors import RecognitionHead
from aevb.runs.data import load_data
from aevb.sequences import SequenceVAE

T, D, X = 6, 2, 4
SIGMA = 0.5
A, Q = torch.tensor([0.9, -0.6], dtype=torch.float64), torch.tensor([0.3, 0.8], dtype=torch.float64)
"""z_t ~ N(A z_{t−1}, diag Q) from z_0 = 0, and x_t ~ N(W z_t, σ² I)."""
COLUMNS = torch.tensor([2.0, 0.7], dtype=torch.float64)
"""Norms of the columns of W, which are orthogonal, so that the posterior factorizes over the dimensions of z_t."""


def make_weight() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.linalg.qr(torch.randn(X, D, dtype=torch.float64, generator=generator))[0] * COLUMNS


W = make_weight()


class Smoother(RecognitionHead):
    """The exact q(z_t | z_{t−1}, x_{t:T}) = p(z_t | z_{t−1}, x_{t:T}).

    p(x_{t:T} | z_t) ∝ exp(−½ Λ_t z_t² + η_t z_t) of each dimension, by recursion from the last step that exists.
    """

    condition_shape = ()
    steps = T

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__(in_features, latent_dim)
        self.layer = nn.Linear(1, 1)  # a head has parameters

    def forward(self, x: Tensor, c: Tensor | None = None) -> Distribution:
        last = torch.full(x.shape[:1], T) if c is None else c
        precision, information = torch.zeros(len(x), D, dtype=x.dtype), torch.zeros(len(x), D, dtype=x.dtype)
        found = []
        for step in reversed(range(T)):
            exists = (step < last).unsqueeze(-1)
            shrink = A / (1 + Q * precision)
            precision = torch.where(exists, COLUMNS.square() / SIGMA**2 + A * shrink * precision, precision)
            information = torch.where(exists, x[:, step] @ W / SIGMA**2 + shrink * information, information)
            found.append((precision, information))
        precisions, informations = (torch.stack(parts[::-1], 1) for parts in zip(*found, strict=True))

        def transition(z: Tensor, first: int, state: None) -> tuple[Distribution, None]:
            there = slice(first, first + z.shape[-2])
            variance = 1 / (1 / Q + precisions[:, there])
            mean = variance * (A * z / Q + informations[:, there])
            return diagonal_gaussian(mean, variance.log()), None

        return Autoregressive(transition, x.shape[:1], T, torch.zeros(D, dtype=x.dtype), c, flat=True)


def state_space() -> SequenceVAE:
    vae = SequenceVAE(
        T * D,
        D,
        (T, X),
        partial(MLPEncoder, hidden=[]),
        Smoother,
        partial(priors.Markov, step_dim=D, hidden=[]),
        partial(MLPDecoder, hidden=[]),
        partial(FixedGaussian, sigma=SIGMA, bounded=False),
    ).double()
    prior: Any = vae.p.prior
    with torch.no_grad():
        for weight in prior.parameters():
            weight.zero_()
        prior.linear.weight.copy_(A.diag())
        prior.gate[-1].bias.fill_(-1e3)  # closed
        prior.log_variance.bias.copy_(Q.log())
        vae.p.head.layer.weight.copy_(W)
        vae.p.head.layer.bias.zero_()
    return vae


def kalman(x: Tensor) -> Tensor:
    """log p(x) of one sequence x (n, X) by the Kalman filter."""
    mean, covariance, total = torch.zeros(D, dtype=x.dtype), torch.zeros(D, D, dtype=x.dtype), torch.zeros(())
    for x_t in x:
        mean, covariance = A * mean, A.diag() @ covariance @ A.diag() + Q.diag()
        marginal = W @ covariance @ W.T + SIGMA**2 * torch.eye(X)
        total = total + MultivariateNormal(W @ mean, marginal).log_prob(x_t)
        gain = covariance @ W.T @ marginal.inverse()
        mean, covariance = mean + gain @ (x_t - W @ mean), covariance - gain @ W @ covariance
    return total


def data(count: int = 5) -> Tensor:
    return 2 * torch.randn(count, T, X, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def make(
    q: Any = posteriors.Markov,
    p: Any = priors.Markov,
    width: int | None = None,
    likelihood: Any = Bernoulli,
    steps: int = T,
    **options: Any,
) -> SequenceVAE:
    torch.manual_seed(0)
    return SequenceVAE(
        steps * D,
        D,
        (steps, X),
        partial(MLPEncoder, hidden=[8]),
        partial(q, step_dim=D, width=7, **options),
        partial(p, step_dim=D),
        partial(MLPDecoder, hidden=[8]),
        likelihood,
        width,
    )


MODELS = {
    "deep_markov": lambda **options: make(**options),
    "deep_markov, q of independent steps": lambda **options: make(posteriors.IndependentSteps, **options),
    "storn": lambda **options: make(posteriors.IndependentSteps, priors.IndependentSteps, 6, **options),
    "static": lambda **options: make(posteriors.IndependentSteps, priors.IndependentSteps, reads="step", **options),
}


def test_elbo_with_the_exact_posterior_is_the_kalman_filters_log_likelihood() -> None:
    vae, x = state_space(), data()
    torch.manual_seed(0)
    exact = torch.stack([kalman(sequence) for sequence in x])
    torch.testing.assert_close(elbo(vae.p, vae.q, x, 1, "sampled").elbo, exact, atol=1e-8, rtol=0)
    torch.testing.assert_close(vae.log_marginal(x, 3), exact, atol=1e-8, rtol=0)
    estimate = elbo(vae.p, vae.q, x, 20_000)  # E_q[log p(x|z)] and the conditional KL have noise apart
    torch.testing.assert_close(estimate.elbo, exact, atol=0.1, rtol=0)


def test_elbo_of_independent_steps_misses_the_likelihood_by_the_kl_to_the_exact_posterior() -> None:
    """ELBO = log p(x) − KL(q(z|x) ‖ p(z|x)), a Gaussian whose precision is that of p(z) plus WᵀW / σ² at each step."""
    vae, x = state_space(), data(3)
    mean_field = make(posteriors.IndependentSteps, likelihood=partial(FixedGaussian, sigma=SIGMA, bounded=False))
    vae = SequenceVAE.join(vae.p, mean_field.double().q)
    with torch.no_grad():
        vae.q.head.gaussian.layer.bias[D:] = -3  # log variances, so that draws have little noise
    difference = torch.eye(T * D, dtype=x.dtype)  # z_t − A z_{t−1}
    for step in range(1, T):
        difference[step * D : (step + 1) * D, (step - 1) * D : step * D] = -A.diag()
    gram = torch.block_diag(*[W.T @ W / SIGMA**2] * T)
    precision = difference.T @ (1 / Q).repeat(T).diag() @ difference + gram
    mean = torch.linalg.solve(precision, (x @ W / SIGMA**2).flatten(1).T).T
    exact = MultivariateNormal(mean, precision_matrix=precision)
    q = vae.q(x).each.base_dist
    missing = kl_divergence(MultivariateNormal(q.loc.flatten(1), q.variance.flatten(1).diag_embed()), exact)
    assert (missing > 0.1).all()
    expected = torch.stack([kalman(sequence) for sequence in x]) - missing
    torch.manual_seed(0)
    torch.testing.assert_close(vae.elbo(x, 100_000), expected.detach(), atol=0.1, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_bound_is_below_the_likelihood_and_objectives_train_every_model(name: str) -> None:
    vae, x = MODELS[name](), data().sigmoid().round().float()
    torch.manual_seed(0)
    assert (vae.elbo(x, 500) < vae.log_marginal(x, 5000) + 0.05).all()
    objectives: list[Objective] = [
        SGVB(),
        SGVB(free_bits=1.0, free_bits_per="datapoint"),
        IWAE(gradient="dreg"),
        IWAE(gradient="stl"),
        WakeSleep(),
        ScoreFunction(),
    ]
    for objective in objectives:
        objective.num_data = 100
        objective.connect(vae.p, vae.q)
        vae.zero_grad()
        objective(vae.p, vae.q, x).loss.backward()
        missing = [key for key, weight in vae.named_parameters() if weight.grad is None or not weight.grad.any()]
        assert not missing, objective


@pytest.mark.parametrize("name", MODELS)
def test_every_head_scores_steps(name: str) -> None:
    x = data().sigmoid().float()
    for head in ("ContinuousBernoulli", "Gaussian", "GaussianPerValue", "ScalarGaussian", "OptimalGaussian", "Laplace"):
        vae = MODELS[name](likelihood=getattr(likelihoods, head)).eval()
        assert vae.p.head.layer is vae.p.head.head.layer
        vae.p.head.adapt_to(0, 1)
        assert vae.elbo(x).isfinite().all()
        assert vae.sample(2, mean=False).shape == vae.sample(2).shape == (2, T, X)
        assert vae.reconstruct(x).shape == x.shape
    counts = MODELS[name](likelihood=likelihoods.Poisson)
    assert counts.p.head.discrete
    with pytest.raises(ValueError, match="likelihood Poisson needs data in whole numbers from 0"):
        counts.elbo(x)


def test_probabilities_of_all_sequences_sum_to_one() -> None:
    """p(x|z) of a recurrent likelihood, over all 2⁸ sequences of four steps of two bits."""
    torch.manual_seed(0)
    head = likelihoods.Recurrent((3,), (4, 2), partial(MLPDecoder, hidden=[5]), Bernoulli, width=6)
    every = torch.cartesian_prod(*8 * [torch.tensor([0.0, 1.0])]).view(-1, 4, 2)
    log_prob = head(torch.randn(1, 1, 4, 3).expand(1, len(every), 4, 3)).log_prob(every)
    torch.testing.assert_close(log_prob.exp().sum(), torch.tensor(1.0))
    assert log_prob.std() > 0.1


def test_recurrent_likelihood_reads_earlier_steps_alone() -> None:
    vae = MODELS["storn"]()
    x = data(1).float().requires_grad_()
    z = torch.randn(1, 1, T * D)
    likelihood: Any = vae.p.likelihood(z)
    for step, log_prob in enumerate(likelihood.log_prob_of_steps(x)[0, 0]):
        gradient = torch.autograd.grad(log_prob, x, retain_graph=True)[0][0]
        assert (gradient[step + 1 :] == 0).all()
        assert (gradient[: step + 1] != 0).all()


def test_static_posteriors_and_priors_over_steps_do_not_mix() -> None:
    def static(latent_dim: int, step_dim: int) -> priors.Prior:
        return priors.StandardNormal(latent_dim)

    def static_q(in_features: int, latent_dim: int, step_dim: int, width: int) -> RecognitionHead:
        return posteriors.DiagonalGaussian(in_features, latent_dim)

    with pytest.raises(ValueError, match=r"posterior Markov over 6 steps needs a prior over .*, got StandardNormal$"):
        make(p=static)
    with pytest.raises(ValueError, match=r"prior Markov over 6 steps needs a posterior over .*, got DiagonalGaussian$"):
        make(q=static_q)
    with pytest.raises(ValueError, match=r"prior IndependentSteps over 6 steps .* got DiagonalGaussian$"):
        make(q=static_q, p=priors.IndependentSteps)


def test_latent_sizes_that_do_not_fit_are_refused() -> None:
    rest = (partial(MLPEncoder, hidden=[]), posteriors.Markov, priors.Markov, partial(MLPDecoder, hidden=[]), Bernoulli)
    with pytest.raises(ValueError, match=r"latent_dim must be step_dim for each of the 6 steps, 12, got 13; set model"):
        SequenceVAE(13, 2, (6, 4), *rest)
    with pytest.raises(ValueError, match=r"data of shape \[T, D\] or \[T, C, H, W\], got \[1, 8, 8\]"):
        SequenceVAE(2, 2, (1, 8, 8), *rest)
    for part in (partial(posteriors.Markov, 8), priors.Markov):
        with pytest.raises(ValueError, match="latent_dim must be a multiple of step_dim, 5, got 12"):
            part(12, step_dim=5)


LENGTHS = torch.tensor([6.0, 1.0, 4.0, 3.0, 2.0])


def test_elbo_of_padded_sequences_is_the_kalman_filters_log_likelihood() -> None:
    vae, x = state_space(), data()
    exact = torch.stack([kalman(x[:n]) for x, n in zip(x, LENGTHS.int().tolist(), strict=True)])
    c = LENGTHS.double()
    torch.testing.assert_close(vae.log_marginal(x, 3, c), exact, atol=1e-8, rtol=0)
    torch.testing.assert_close(elbo(vae.p.given(c), vae.q.given(c), x, 1, "sampled").elbo, exact, atol=1e-8, rtol=0)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("objective", [SGVB(weight_prior=False), IWAE(weight_prior=False)])
def test_padding_contributes_exactly_zero(name: str, objective: Objective) -> None:
    """Neither its values, nor how much of it there is, enter the bound, and no gradient passes through it."""
    vae, x = MODELS[name](), data().sigmoid().float()
    padding = torch.arange(T) >= LENGTHS.unsqueeze(-1)
    found = []
    for content in (0.0, 1.0):
        vae.zero_grad()
        padded = torch.where(padding.unsqueeze(-1), content, x).requires_grad_()
        torch.manual_seed(0)
        estimate = objective(vae.p.given(LENGTHS), vae.q.given(LENGTHS), padded)
        estimate.loss.backward()
        assert (padded.grad[padding] == 0).all()
        assert (padded.grad[~padding] != 0).all()
        found.append([estimate.elbo, estimate.kl, *(weight.grad for weight in vae.parameters())])
    assert all(map(torch.equal, *found))
    short = MODELS[name](steps=4)
    short.load_state_dict(vae.state_dict())
    z = short.q(x[2:3, :4]).sample((3,))
    padded_z = torch.cat([z, torch.zeros(3, 1, 2 * D)], -1)
    given = vae.given(LENGTHS[2:3], 1)
    torch.testing.assert_close(given.p.log_joint(x[2:3], padded_z), short.p.log_joint(x[2:3, :4], z))
    torch.testing.assert_close(given.q(x[2:3]).log_prob(padded_z), short.q(x[2:3, :4]).log_prob(z))


def test_chains_that_move_through_padding_do_not_change_the_likelihood() -> None:
    vae, x = state_space(), 0.3 * data()
    exact = torch.stack([kalman(x[:n]) for x, n in zip(x, LENGTHS.int().tolist(), strict=True)])
    torch.manual_seed(0)
    estimator = AnnealedImportanceSampling(num_chains=40, num_temperatures=50, start="prior")
    found = estimator.estimate(vae.given(LENGTHS, len(x)), x, 1000)
    assert ((found.value - exact).abs() < 4 * found.variance.sqrt() + 0.1).all()
    assert found.standard_error < 0.1
    assert ((found.diagnostics["acceptance"] - 0.65).abs() < 0.1).all()


@pytest.mark.parametrize(
    "estimator",
    [PosteriorHMC(), *(LocalELBO(family=family) for family in ("diagonal_gaussian", "full_gaussian", "flow"))],  # type: ignore[arg-type]
)
def test_densities_of_all_of_z_are_refused_where_some_of_it_is_padding(estimator: Estimator) -> None:
    vae, x = make(), data().sigmoid().round().float()
    with pytest.raises(ConfigError, match="needs a density of all dimensions of z, and those of steps after the end"):
        estimator.estimate(vae.given(LENGTHS, len(x)), x, 10)


def test_monte_carlo_em_is_refused_where_some_of_z_is_padding() -> None:
    vae, x, objective = make(), data().sigmoid().round().float(), MonteCarloEM(weight_prior=False)
    assert objective(vae.p, vae.q, x).elbo.isfinite().all()
    with pytest.raises(ConfigError, match=r"^objective=monte_carlo_em needs a density of all dimensions of z"):
        objective(vae.p.given(LENGTHS), vae.q.given(LENGTHS), x)


@pytest.mark.parametrize("name", MODELS)
def test_whole_sequences_need_no_lengths(name: str) -> None:
    vae, x = MODELS[name](), data().sigmoid().round().float()
    found = []
    for c in (None, torch.full((5,), float(T))):
        torch.manual_seed(0)
        found.append(vae.elbo(x, 3, c))
    assert torch.equal(*found)
    assert (vae.sample(5, c=LENGTHS)[1, 1:] == 0).all()


def test_lengths_out_of_range_get_one_line() -> None:
    vae, x = make(), data().sigmoid().round().float()
    for wrong in (0, 7, 2.5):
        with pytest.raises(ValueError, match=f"^lengths must be whole numbers from 1 to 6, got {wrong}$"):
            vae.elbo(x, c=torch.tensor([1, 2, 3, 4, wrong]))
    with pytest.raises(ValueError, match=r"a condition .* for each of the 5 datapoints, got c of shape"):
        vae.elbo(x, c=LENGTHS[:4])
    with pytest.raises(ValueError, match="x has parts of unequal length; pad sequences to one length, and give their"):
        vae.elbo([sequence[:n] for sequence, n in zip(x, LENGTHS.int(), strict=True)])
    padded = make(likelihood=likelihoods.OptimalGaussian)
    with pytest.raises(ValueError, match="OptimalGaussian fits σ² to all steps, and some are padding"):
        padded.elbo(x, c=LENGTHS)


def sequences(path: Path) -> list[str]:
    """An array of sequences with lengths, and the settings of a small model of them."""
    rng = np.random.default_rng(0)
    np.savez(path, x=rng.random((60, T, X)) < 0.3, lengths=rng.integers(1, T + 1, 60))
    return [f"data.path={path}", *SMALL]


SMALL = [
    *("data=array", "data.batch_size=4", "model.step_dim=2", "model.posterior.width=5", "model.encoder.hidden=[6]"),
    *("logger=none", "callbacks.images=null", "max_samples=640", "optimizer=adam", "optimizer.lr=0.01"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deep_markov", "storn"])
def test_training_of_padded_sequences_is_recorded_and_resumed_exactly(
    name: str, tmp_path: Path, run_train: Any
) -> None:
    small = [*sequences(tmp_path / "x.npz"), f"model={name}"]
    recorded, _ = run_train(*small, "steps=recorded", folder=tmp_path / "recorded")
    assert "training steps are eager" not in recorded.log_file.read_text()
    eager, _ = run_train(*small, "steps=eager", folder=tmp_path / "eager")
    half, _ = run_train(*small, "max_samples=320", folder=tmp_path / "half")
    run_train(f"resume={half.path}", "max_samples=640", folder=half.path)
    for other in (eager, half):
        for key, weight in weights(recorded).items():
            assert torch.equal(weight, weights(other)[key]), key


def weights(run: Any) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(run.last_checkpoint, weights_only=False)["state_dict"]
    return state


def test_nats_per_step_are_those_of_all_steps(tmp_path: Path, run_train: Any) -> None:
    """All nats over all true steps, not a mean over sequences of different lengths."""
    folder, _ = run_train(*sequences(tmp_path / "x.npz"), "model=deep_markov", "max_samples=40")
    results = folder.status()["results"]
    lengths = load_data(folder.config()).splits.test.c
    torch.testing.assert_close(results["test/elbo_per_step"], results["test/elbo"] / float(lengths.mean()))


def test_chain_that_leaves_the_region_of_its_training_stays_finite() -> None:
    torch.manual_seed(0)
    prior = priors.Markov(100 * D, D)
    for part in (prior.gate, prior.nonlinear):
        for weight in part.parameters():
            nn.init.normal_(weight, std=0.1)
    nn.init.constant_(prior.log_variance.weight, 5.0)  # σ grows as the exponential of |z|
    z = prior().sample((1000,))
    assert z.isfinite().all()
