"""The use of the latent variables: active units, KL, aggregate posterior."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Distribution

from aevb import plots
from aevb.data.module import Split
from aevb.distributions.chain import Chain
from aevb.distributions.kl import (
    factorized,
    kl_estimate,
    kl_of_steps,
    kl_per_block,
    rsample_and_log_prob,
    sample_and_kl,
)
from aevb.distributions.moments import closed_moment
from aevb.distributions.sequence import Steps
from aevb.networks.condition import condition_shape_of
from aevb.tasks.base import DRAWS_FOR_MEAN, Task, TaskResult, encoded_means
from aevb.tasks.projection import Projection, scatter_of_means
from aevb.types import AtLeastTwo, Positive
from aevb.vae import VAE

DRAWS_PER_BLOCK = 10
"""Of q(z|x), for the KL of layers and steps."""

ACTIVE = 0.01
"""Variance over x of E_q[z_u|x] above which a latent variable u is active; source: Burda et al. (2016), section 5.2."""


@dataclass(frozen=True)
class Latents(Task):
    """Active units, the KL of each dimension, and the aggregate posterior q(z) = 1/N Σ_n q(z|x_n) against p(z).

    - A dimension u of z is active if Var_x(E_q[z_u|x]) is above the threshold (Burda et al. 2016); where z is
      constrained, the variance is relative to that of the prior.
    - KL(q(z|x) ‖ p(z)), averaged over x, is the mutual information of x and z plus KL(q(z) ‖ p(z)), the mismatch
      between the prior and the aggregate posterior (Hoffman & Johnson 2016). Both are estimated with
      N = `aggregate_size` datapoints and one draw of each; the first cannot exceed log N.
    - Per layer, of a model with several: the KL and the active units. Per step of sequences: the KL, over those that
      have the step.
    - Per dimension, where q(z|x) and p(z) factorize: the KL, and mean and standard deviation of q(z).
    - A picture of the means of q(z|x) in the plane, of models with more than one latent variable.

    Given a condition c, q(z|x, c) and p(z|c) take their places; where p(z|c) depends on c, there is no aggregate.

    Args:
        threshold: Variance above which a dimension is active.
        aggregate_size: Maximum number of datapoints in q(z).
        projection: Of the means of more than two latent variables: two principal components, or UMAP.
    """

    name: ClassVar[str] = "latents"
    takes_condition: ClassVar[bool] = True

    threshold: Positive = ACTIVE
    aggregate_size: AtLeastTwo = 2000
    projection: Projection = "pca"

    @torch.no_grad()
    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        if len(data.x) < 2:
            raise ValueError("limit must be at least 2 for task=latents, got 1")
        variance = variance_of_means(vae, data)
        active = variance > self.threshold
        kl, kl_per_dimension = divergences(vae, data)
        layers, steps = kl_of_layers(vae, data), kl_of_each_step(vae, data)
        results = {
            "latent_dim": len(active),
            "active_units": int(active.sum()),
            "active": active.nonzero().flatten().tolist(),
            "variance_of_means": variance.tolist(),
            "kl": kl,
            "kl_per_dimension": None if kl_per_dimension is None else kl_per_dimension.tolist(),
            "kl_per_layer": layers,
            "kl_per_step": steps,
        }
        words = [*in_words(active, kl), *layers_in_words(vae, active, layers)]
        if data.c is None or condition_shape_of(vae.p.prior) is None:
            used = data.take(slice(self.aggregate_size))
            z, information = aggregate(vae, used)
            kl_used = kl_of(vae, used)
            results |= {
                "kl_aggregate": kl_used - information,
                "mutual_information": information,
                "aggregate_mean": z.mean(0).tolist(),
                "aggregate_std": z.std(0).tolist(),
            }
            words += parts_in_words(len(z), kl_used, kl_used - information, information)
        figure = plots.latent_bars(variance, kl_per_dimension, self.threshold, f"{int(active.sum())} active units")
        pictures = {"per_dimension": figure} | bars({"layer": layers, "step": steps}, kl)
        if len(active) > 1 and not (data.c is not None and vae.condition_is_optional):  # of padding there are no means
            what = "means of $q(z|x)$" if data.c is None else "means of $q(z|x, c)$"
            where = f"{len(data.x):,} datapoints"
            pictures["means"] = scatter_of_means(encoded_means(vae, data), data.classes, what, where, self.projection)
        return TaskResult(results, words, pictures)


@torch.no_grad()
def variance_of_means(vae: VAE, data: Split) -> Tensor:
    """Var_x(E_q[z|x]) of each latent variable, (latent_dim,); zero for one datapoint.

    Where z is constrained, it is relative to the variance of the prior, which is far from 1 on a simplex. Where the
    mean has no closed form, the variance of its estimate from draws is subtracted. Of sequences it is over those that
    have the step.
    """
    posteriors = [vae.encode(x, c) for x, _, c in data.chunks(1000)]
    means = [mean for posterior in posteriors if (mean := closed_moment(posterior, "mean")) is not None]
    exists = existing(posteriors)
    if means:
        variance = variance_over(torch.cat(means), exists)
    else:
        z = torch.cat([posterior.sample(torch.Size((DRAWS_FOR_MEAN,))) for posterior in posteriors], 1)
        noise = z.var(0).sum(0) / (len(z[0]) if exists is None else exists.sum(0).clamp(min=1)) / DRAWS_FOR_MEAN
        variance = (variance_over(z.mean(0), exists) - noise).clamp(min=0)
    return variance if vae.p.prior.support == "real" else variance / vae.p.prior().variance


def existing(posteriors: Sequence[Distribution]) -> Tensor | None:
    """Which latent variables of which datapoints are no padding, (N, latent_dim); None where all are none."""
    steps = [each for each in posteriors if isinstance(each, Steps) and each.exists is not None]
    parts = [torch.as_tensor(each.exists).repeat_interleave(math.prod(each.step_shape), -1) for each in steps]
    return torch.cat(parts) if parts else None


def variance_over(values: Tensor, exists: Tensor | None) -> Tensor:
    """The variance over datapoints of values (N, D) that exist, (D,); zero where fewer than two do."""
    if exists is None:
        return values.var(0, correction=min(1, len(values) - 1))
    count = exists.sum(0)
    mean = torch.where(exists, values, 0.0).sum(0) / count.clamp(min=1)
    return torch.where(exists, values - mean, 0.0).square().sum(0) / (count - 1).clamp(min=1)


def in_words(active: Tensor, kl: float) -> list[str]:
    """A sentence on the active dimensions."""
    count, total = int(active.sum()), len(active)
    unused = ", ".join(str(u) for u in (~active).nonzero().flatten().tolist())
    if count == 0:
        return [f"posterior collapse: none of the {total} latent variables is active; q(z|x) has one mean for all x"]
    if count < total:
        return [f"{count} of {total} latent variables are active; the posterior of these has collapsed: {unused}"]
    return [f"no posterior collapse: all {total} latent variables are active"]


def parts_in_words(count: int, kl: float, kl_aggregate: float, information: float) -> list[str]:
    """A sentence on the parts of the KL; near its limit, log `count`, the information may be underestimated."""
    most = math.log(count)
    at_least, at_most = ("at least ", "at most ") if information > most - 0.5 else ("", "")
    return [
        f"of the KL of {kl:.2f} nats, {at_least}{information:.2f} are information about x ({count} datapoints can show "
        f"{most:.2f}), and {at_most}{kl_aggregate:.2f} are the KL of the aggregate posterior from the prior"
    ]


def bars(kls: Mapping[str, list[float] | None], total: float) -> dict[str, Figure]:
    """A picture `per_<part>` of the KL of each layer or step, for those that the model has."""
    return {f"per_{part}": plots.kl_bars(values, part, total) for part, values in kls.items() if values is not None}


def posteriors_and_priors(vae: VAE, data: Split, batch: int = 1000) -> Iterator[tuple[Distribution, Distribution]]:
    """q(z|x) and p(z) of consecutive datapoints, given their conditions."""
    for x, _, c in data.chunks(batch):
        given = vae.given(c, len(x))
        yield given.q(x), given.p.prior()


def divergences(vae: VAE, data: Split) -> tuple[float, Tensor | None]:
    """KL(q(z|x) ‖ p(z)) in nats, its mean over x and that of each dimension; None where q or p does not factorize."""
    per_dimension = []
    for q, p in posteriors_and_priors(vae, data):
        posterior, prior = factorized(q), factorized(p)
        if posterior is None or prior is None:
            return kl_of(vae, data), None
        z = posterior.sample(torch.Size((DRAWS_FOR_MEAN,)))
        per_dimension.append(kl_estimate(posterior, prior, z, "auto"))
    mean = torch.cat(per_dimension).mean(0)
    return float(mean.sum()), mean


def kl_of_layers(vae: VAE, data: Split) -> list[float] | None:
    """The mean over x of the KL of each layer, in nats; None where there is one."""
    terms = []
    for posterior, prior in posteriors_and_priors(vae, data, 100):
        if not isinstance(posterior, Chain) or not isinstance(prior, Chain):
            return None
        z, conditionals = posterior.rsample_and_conditionals((DRAWS_PER_BLOCK,))
        terms.append(torch.stack(kl_per_block(posterior, prior, z, of_q=conditionals)))
    return torch.cat(terms, 1).mean(1).tolist()


def kl_of_each_step(vae: VAE, data: Split) -> list[float] | None:
    """The mean of the KL of each step over the sequences that have it, in nats; None where x is no sequence."""
    total: Tensor | float = 0.0
    count: Tensor | float = 0.0
    for posterior, prior in posteriors_and_priors(vae, data, 100):
        if not isinstance(posterior, Steps) or not isinstance(prior, Steps):
            return None
        kl = kl_of_steps(posterior, prior, posterior.sample((DRAWS_PER_BLOCK,))).mean(0)
        total, count = total + kl.sum(0), count + posterior.masked(torch.ones_like(kl)).sum(0)
    steps: Tensor = torch.as_tensor(total / count)
    return steps[torch.as_tensor(count) > 0].tolist()


def layers_in_words(vae: VAE, active: Tensor, kls: list[float] | None) -> list[str]:
    """The use of each layer."""
    if kls is None:
        return []
    units = active.split(vae.p.prior().sizes)
    return [
        f"layer {number}: {kl:.2f} nats, {int(used.sum())} of {len(used)} latent variables active"
        for number, (kl, used) in enumerate(zip(kls, units, strict=True), 1)
    ]


def kl_of(vae: VAE, data: Split) -> float:
    """The mean of KL(q(z|x) ‖ p(z)) over x, in nats."""
    kls = [sample_and_kl(q, p, DRAWS_FOR_MEAN)[1] for q, p in posteriors_and_priors(vae, data)]
    return float(torch.cat(kls).mean())


def aggregate(vae: VAE, data: Split) -> tuple[Tensor, float]:
    """A draw z_n ~ q(z|x_n) for each x_n, (N, latent_dim), and the mean of log q(z_n|x_n) − log q(z_n) in nats."""
    posteriors = [posterior for posterior, _ in posteriors_and_priors(vae, data, 100)]
    draws = [rsample_and_log_prob(posterior, ()) for posterior in posteriors]
    z, own = (torch.cat(parts) for parts in zip(*draws, strict=True))
    mixture = torch.stack([posterior.log_prob(z.unsqueeze(1)).logsumexp(1) for posterior in posteriors]).logsumexp(0)
    return z, float((own - mixture).mean()) + math.log(len(z))
