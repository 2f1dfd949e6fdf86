"""Monte Carlo EM with Hamiltonian Monte Carlo."""

from collections.abc import Iterator
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor

from aevb.collectives import means_over_processes
from aevb.distributions.sequence import require_no_padding
from aevb.distributions.support import require_real
from aevb.inference import hmc
from aevb.networks import evaluation_mode
from aevb.objectives.base import Estimate, Objective
from aevb.types import LARGEST, Count, Fraction
from aevb.vae import GenerativeModel, RecognitionModel


class MonteCarloEM(Objective):
    """Monte Carlo EM: draws from the exact posterior p(z|x) in place of a recognition model.

    - E-step: one chain for each datapoint of the minibatch. It starts at one of `num_starts` draws from the prior,
      picked with probability proportional to p(x|z) (sampling importance resampling), and makes `transitions` HMC
      transitions, whose step size is tuned to `target_acceptance` all through training.
    - M-step: `updates` steps of the optimizer on −log p(x, z) at the chain's last position.

    By Fisher's identity, E_p(z|x)[∇_θ log p(x, z)] = ∇_θ log p(x): the gradient is that of the marginal likelihood, as
    far as the chain has converged. Chains end with their minibatch, so nothing is stored per datapoint, but each
    minibatch needs a burn-in. Like HMC, the initialization suits few latent dimensions: with many, no draw from the
    prior comes near the posterior.

    While chains run, p is in evaluation mode, so that their target does not change.

    φ is not trained, unless the prior is defined by q (`VampPrior`). The ELBO that is reported is that of another q: a
    Gaussian with full covariance, fitted for each datapoint to the second half of its chain. It is a lower bound of log
    p(x) like any ELBO.

    Source: Kingma & Welling (2013), appendix E; the initialization is this implementation's.

    Args:
        num_starts: Draws from the prior, of which a chain starts at one.
        transitions: HMC transitions per minibatch.
        leapfrog_steps: Leapfrog steps of a transition.
        target_acceptance: Acceptance probability to which the step size is tuned.
        updates: Optimizer steps per minibatch. A minibatch counts as M samples whatever their number.
        evaluation_transitions: HMC transitions per datapoint in validation and test.
        weight_prior: See `Objective`.

    Logged in addition: `acceptance`, the mean acceptance probability; `log_likelihood_hmc`, the mean of log p(x|z) over
    the posterior draws that are used (`log_likelihood` is that over the fitted Gaussian).
    """

    step_size: Tensor
    """Of the leapfrog steps, (); part of the checkpoint."""

    def __init__(
        self,
        num_starts: Count = 50,
        transitions: Annotated[int, Interval(ge=4, le=LARGEST)] = 10,
        leapfrog_steps: Count = 10,
        target_acceptance: Fraction = 0.9,
        updates: Count = 5,
        evaluation_transitions: Annotated[int, Interval(ge=4, le=LARGEST)] = 40,
        weight_prior: bool = True,
    ) -> None:
        super().__init__(weight_prior)
        self.num_starts = num_starts
        self.transitions = transitions
        self.leapfrog_steps = leapfrog_steps
        self.target_acceptance = target_acceptance
        self.updates = updates
        self.evaluation_transitions = evaluation_transitions
        self.register_buffer("step_size", torch.tensor(0.1))

    def connect(self, p: GenerativeModel, q: RecognitionModel) -> None:
        require_real(p.prior.support, "objective=monte_carlo_em", "another objective or prior")

    def estimates(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Iterator[Estimate]:
        """`updates` estimates from the same posterior draws."""
        draws = self.expectation(p, x)
        report = self.report(p, x, draws)
        for _ in range(self.updates):
            yield self.with_weight_prior(p, self.maximization(p, x, draws, report))

    def estimate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        draws = self.expectation(p, x)
        return self.maximization(p, x, draws, self.report(p, x, draws))

    def evaluate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        """The ELBO with a Gaussian fitted to posterior draws; the step size of training stays."""
        with torch.inference_mode(False), torch.no_grad():
            x = x.clone()  # Lightning validates in inference mode, whose tensors cannot be differentiated through
            return self.report(p, x, self.draw(p, x, self.evaluation_transitions))

    @torch.no_grad()
    def expectation(self, p: GenerativeModel, x: Tensor) -> hmc.Draws:
        """E-step: posterior draws; the next ones go on with the step size that these arrived at."""
        draws = self.draw(p, x, self.transitions)
        (step_size,) = means_over_processes([draws.step_size])
        self.step_size.copy_(step_size)
        return draws

    def draw(self, p: GenerativeModel, x: Tensor, transitions: int) -> hmc.Draws:
        """The second half of a chain from p(z|x) for each datapoint: z (T, 1, B, latent_dim)."""
        burn_in = transitions // 2
        with evaluation_mode(p):  # what a likelihood fits to the minibatch in training would couple the chains
            return hmc.sample(
                lambda z: p.log_joint(x, z),
                self.starts(p, x),
                self.step_size,
                transitions - burn_in,
                burn_in,
                self.leapfrog_steps,
                self.target_acceptance,
            )

    def starts(self, p: GenerativeModel, x: Tensor) -> Tensor:
        """Where chains start, (1, B, latent_dim): draws from the prior, resampled by their likelihood."""
        z = p.sample_prior(self.num_starts, len(x))
        return hmc.resample(z, p.likelihood(z).log_prob(x), 1)

    def maximization(self, p: GenerativeModel, x: Tensor, draws: hmc.Draws, report: Estimate) -> Estimate:
        """M-step: `report` with the loss −log p(x, z) at the last draws."""
        return report._replace(loss=-p.log_joint(x, draws.z[-1]).mean())

    @torch.no_grad()
    def report(self, p: GenerativeModel, x: Tensor, draws: hmc.Draws) -> Estimate:
        """The ELBO with q a Gaussian for each datapoint, fitted to its draws."""
        prior, q = p.prior(), hmc.fit_gaussian(draws.z.flatten(0, 1))
        require_no_padding(prior, "objective=monte_carlo_em", "another objective")
        z = q.sample(torch.Size((1,)))
        log_likelihood = p.likelihood(z).log_prob(x).mean(0)
        kl = (q.log_prob(z) - prior.log_prob(z)).mean(0)
        extras = {
            "acceptance": draws.acceptance,
            "log_likelihood_hmc": p.likelihood(draws.z[-1]).log_prob(x).mean(),
        }
        elbo = log_likelihood - kl
        return Estimate(-elbo.mean(), elbo, log_likelihood, kl, extras)
