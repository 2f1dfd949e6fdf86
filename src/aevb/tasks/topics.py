"""Topics: what each dimension of z on the simplex says of words."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from aevb.data.module import InMemoryDataModule, Split
from aevb.distributions.multinomial import log_orders
from aevb.estimators import ELBO
from aevb.estimators.runner import run
from aevb.likelihoods import Multinomial
from aevb.tasks.base import Task, TaskResult, encoded_means
from aevb.types import AtLeastTwo, Size
from aevb.vae import VAE


@dataclass(frozen=True)
class Topics(Task):
    """The likeliest words of each topic k, p(word | z = e_k), by its share E[z_k] of the documents; and perplexities.

    The perplexity of a word, exp(−Σ_x log p(x's words) / Σ_x n), is bounded from above by the ELBO less the logarithm
    of the number of orders of x's words, n! / Π_i x_i!. That of the unigram model, of the training data's frequencies
    with one added to each, is beside it.

    Source: Blei, Ng & Jordan (2003), Latent Dirichlet allocation, section 7.1.

    Args:
        words: Of each topic.
        num_samples: Samples of z per document, of the ELBO.
    """

    name: ClassVar[str] = "topics"
    train_limit: ClassVar[int | None] = None
    names: ClassVar[Sequence[str]] = ()

    words: Size = 8
    num_samples: AtLeastTwo = 100

    def of(self, data: InMemoryDataModule) -> Self:
        task = copy.copy(self)
        object.__setattr__(task, "names", data.value_names)
        return task

    @torch.no_grad()
    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        if not isinstance(vae.p.head, Multinomial) or vae.p.prior.support != "on the simplex":
            raise ValueError("task=topics needs documents and z on the simplex, model=topics")
        estimates, _ = run(ELBO(self.num_samples), vae, data, rows)
        dims, total = len(vae.p.data_shape), float(data.x.sum())
        words = float(estimates.value.sum() - log_orders(data.x.double().cpu(), dims).sum())
        frequencies = train.x.double().sum(0) + 1
        unigram = float((data.x.double() * (frequencies / frequencies.sum()).log()).sum())
        shares = encoded_means(vae, data).mean(0)
        order = shares.argsort(descending=True)
        found = self.likeliest(vae)
        return TaskResult(
            {
                "perplexity": perplexity(words, total),
                "unigram_perplexity": perplexity(unigram, total),
                "elbo_per_word": words / total,
                "shares": shares[order].tolist(),
                "topics": [found[k] for k in order.tolist()],
            },
            [f"{float(shares[k]):6.1%}  {' '.join(found[k])}" for k in order.tolist()],
        )

    def likeliest(self, vae: VAE) -> list[list[str]]:
        """The likeliest words of each topic."""
        corners = torch.eye(vae.p.latent_dim).to(vae.p.head.layer.weight)
        each = vae.p.likelihood(corners.unsqueeze(0)).mean[0].flatten(1)
        indices: Tensor = each.topk(min(self.words, each.shape[1])).indices
        return [[self.names[i] if self.names else f"x[{i}]" for i in row] for row in indices.tolist()]


def perplexity(log_probability: float, words: float) -> float:
    """exp(−log p / n)."""
    return float(torch.tensor(-log_probability / words, dtype=torch.float64).exp())
