"""Continuations of sequences."""

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from PIL.Image import Image
from torch import Tensor

from aevb import plots
from aevb.data.module import Split
from aevb.distributions.sequence import Steps
from aevb.estimators import ParticleFilter
from aevb.estimators.particle_filter import filtered
from aevb.likelihoods.sequence import OverSteps
from aevb.networks import EachStep
from aevb.tasks.base import DRAWS_FOR_MEAN, Task, TaskResult
from aevb.types import AtLeastTwo, Count, Size
from aevb.vae import VAE


@dataclass(frozen=True)
class Forecast(Task):
    """Continues sequences of which the first steps are given, and scores what really followed.

    - log p(x_{o+1:n} | x_{1:o}) = log p(x_{1:n}) − log p(x_{1:o}), by particle filters, per step that is predicted; and
      log p of the same steps as a sequence of their own. The difference, in nats per sequence, is what the past is
      worth: 0 in a model of each step by itself.
    - The root mean squared error of the mean continuation, and of repeating the last step that is given.
    - A picture of continuations, z_t drawn from the particles at step o and then from p(z_t|z_<t); means of p(x_t|·).

    Args:
        observed: o, steps that are given.
        num_particles: See `ParticleFilter`.
        num_filters: See `ParticleFilter`.
        sequences: In the picture, at most.
        draws: Continuations of each in the picture.
    """

    name: ClassVar[str] = "forecast"
    takes_condition: ClassVar[bool] = True

    observed: Count = 10
    num_particles: Count = 250
    num_filters: AtLeastTwo = 4
    sequences: Size = 4
    draws: Size = 3

    @torch.no_grad()
    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        if not isinstance(vae.p.head, OverSteps):
            raise ValueError("task=forecast needs a model of sequences, such as model=deep_markov or model=storn")
        steps = data.x.shape[1]
        lengths = data.c if data.c is not None else data.x.new_full((len(data.x),), steps)
        data = Split(data.x, None, lengths).take(lengths > self.observed)
        if not len(data.x):
            raise ValueError(f"task.observed must be less than the steps of a sequence, {steps}, got {self.observed}")
        chunks = list(data.chunks(max(1, rows // self.num_particles)))
        future, alone = (torch.cat(parts) for parts in zip(*(self.scores(vae, chunk) for chunk in chunks), strict=True))
        continued = torch.cat([self.continued(vae, chunk.x, DRAWS_FOR_MEAN) for chunk in chunks], 1)
        assert data.c is not None
        count = data.c.double() - self.observed
        worth, exists = future - alone, torch.arange(steps).to(data.c) < data.c.unsqueeze(-1)
        predicted = exists & (torch.arange(steps).to(data.c) >= self.observed)
        results = {
            "log_likelihood_per_step": float(future.sum() / count.sum()),
            "log_likelihood_per_step_without_past": float(alone.sum() / count.sum()),
            "worth_of_past": float(worth.mean()),
            "worth_of_past_standard_error": float(worth.std()) / len(worth) ** 0.5,
            "rmse": rmse(continued.mean(0), data.x, predicted),
            "rmse_last_step": rmse(data.x[:, self.observed - 1 : self.observed].expand_as(data.x), data.x, predicted),
        }
        words = [
            f"after {self.observed} steps a next one has {results['log_likelihood_per_step']:.2f} nats, without them "
            f"{results['log_likelihood_per_step_without_past']:.2f}: the past is worth {results['worth_of_past']:.2f} "
            f"± {results['worth_of_past_standard_error']:.2f} nats per sequence",
            f"root mean squared error of the mean continuation {results['rmse']:.4g}, of repeating the last step "
            f"{results['rmse_last_step']:.4g}",
        ]
        shown = torch.cat([data.x.unsqueeze(0), continued[: self.draws]])[:, : self.sequences]
        return TaskResult(results, words, {"": self.picture(shown)}, animations=self.animation(shown))

    def scores(self, vae: VAE, data: Split) -> tuple[Tensor, Tensor]:
        """log p of the steps after `observed` given those before, and as sequences of their own, in nats, (B,)."""
        x, _, lengths = data
        assert lengths is not None
        estimator = ParticleFilter(self.num_particles, self.num_filters)

        def log_likelihood(x: Tensor, lengths: Tensor) -> Tensor:
            return estimator.estimate(vae.given(lengths, len(x)), x, 1).value

        past, future = torch.full_like(lengths, self.observed), torch.zeros_like(x)
        future[:, : x.shape[1] - self.observed] = x[:, self.observed :]
        given_past = log_likelihood(x, lengths) - log_likelihood(x, past)
        return given_past, log_likelihood(future, lengths - self.observed)

    def continued(self, vae: VAE, x: Tensor, draws: int) -> Tensor:
        """The observed steps of x (B, T, *step_shape), then means of p(x_t|·) along draws: (draws, *x.shape)."""
        lengths = x.new_full((len(x),), self.observed)
        particles = filtered(vae.given(lengths, len(x)), x, self.num_particles, self.observed)[2].drawn_by_weight(draws)
        z, state = particles.z, particles.state
        prior, head, decoder = cast(Steps, vae.p.prior()), cast(OverSteps, vae.p.head), cast(EachStep, vae.p.decoder)
        x_before = x[:, self.observed - 1 : self.observed].expand(draws, len(x), 1, *x.shape[2:])
        steps = [x[:, : self.observed].expand(draws, len(x), self.observed, *x.shape[2:])]
        for step in range(self.observed, x.shape[1]):
            conditional: Any = prior.step(z, step)[0]
            z = conditional.expand(z.shape[:-1]).sample()
            likelihood, state = head.steps(decoder.decoder(z), x_before, state)
            x_before = likelihood.sample()
            steps.append(likelihood.mean)
        return torch.cat(steps, 2)

    def picture(self, shown: Tensor) -> Any:
        """Data and continuations (1 + draws, N, T, *step_shape): frames in a row each, vectors side by side."""
        by_sequence, caption = shown.unbind(1), f"data, and continuations from step {self.observed} on"
        names = ["data", *["continued"] * (len(shown) - 1)]
        rows = [("", sequence) for sequence in by_sequence]
        if shown.ndim > 4:
            rows = [(name, x[None]) for sequence in by_sequence for name, x in zip(names, sequence, strict=True)]
        return plots.show(rows, shown.shape[2:], caption, *plots.limits(shown[0]))

    def animation(self, shown: Tensor) -> dict[str, list[Image]]:
        """The same as frames of a film, where steps are images; none elsewhere."""
        if shown.ndim < 6 or not plots.is_image(shown.shape[3:]):
            return {}
        film = []
        for step, frames in enumerate(shown.unbind(2)):
            kind = "given" if step < self.observed else "continued"
            rows = [("", sequence) for sequence in frames.unbind(1)]
            caption = f"data and continuations, step {step + 1}: {kind}"
            film.append(cast(Image, plots.show(rows, shown.shape[3:], caption, *plots.limits(shown[0]))))
        return {"": film}


def rmse(predicted: Tensor, x: Tensor, where: Tensor) -> float:
    """Root mean squared error over the values of the steps `where` (B, T)."""
    return float((predicted - x)[where].square().mean().sqrt())
