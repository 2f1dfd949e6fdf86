"""How well single dimensions of z stand for single known factors of the data."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from aevb import plots
from aevb.data.module import Split
from aevb.tasks.base import Task, TaskResult, encoded_means
from aevb.tasks.latents import ACTIVE
from aevb.types import AtLeastTwo, Count
from aevb.vae import VAE


@dataclass(frozen=True)
class Disentanglement(Task):
    """Scores of the means of q(z|x) as codes of the known factors v_1 … v_F of the data, from 0 to 1 each.

    - Mutual information gap (MIG): the mean over factors of (I(c_1; v_f) − I(c_2; v_f)) / H(v_f), c_1 and c_2 the
      dimensions that know most of v_f. Each dimension is divided into bins of equal width.
    - FactorVAE score: datapoints that share the value of one factor are drawn, and the dimension with the least
      variance, relative to that over all data, votes for this factor. The score is the accuracy of the majority vote on
      other draws. Dimensions that are not active have no vote.
    - β-VAE score: the accuracy of a linear classifier that tells which factor the two datapoints of a pair share, from
      the mean of |c − c'| over several pairs.
    - Disentanglement, completeness and informativeness (DCI), of the importances of the dimensions in a random forest
      for each factor: one minus the entropy of the factors that a dimension matters for, one minus that of the
      dimensions that matter for a factor, and the accuracy of forests of the training data on `data`.

    All but the last are over the training data and `data` together. Factors with a single value are left out.

    Sources: MIG: Chen et al. (2018); FactorVAE score: Kim & Mnih (2018); β-VAE score: Higgins et al. (2017); DCI:
    Eastwood & Williams (2018).

    Args:
        bins: Of each dimension, for the mutual information.
        votes: Draws that votes and the linear classifier are fitted to, and as many that they are scored on.
        vote_size: Datapoints, or pairs, of a draw.
        trees: Of each forest.
    """

    name: ClassVar[str] = "disentanglement"
    train_limit: ClassVar[int | None] = None

    bins: AtLeastTwo = 20
    votes: AtLeastTwo = 800
    vote_size: AtLeastTwo = 64
    trees: Count = 20

    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        factors = varied_factors(train, data)
        codes = [encoded_means(vae, split).cpu().double().numpy() for split in (train, data)]
        results = self.scores(codes, factors)
        words = [
            f"MIG {results['mig']:.3f}, FactorVAE score {results['factor_vae_score']:.3f}, β-VAE score "
            f"{results['beta_vae_score']:.3f}; disentanglement {results['disentanglement']:.3f}, completeness "
            f"{results['completeness']:.3f}, informativeness {results['informativeness']:.3f}"
        ]
        caption = f"mutual information in nats, MIG {results['mig']:.3f}"
        information = torch.tensor(results["mutual_information"]).T
        return TaskResult(results, words, {"": plots.matrix(information, "factor", "dimension of z", caption)})

    def scores(self, codes: list[np.ndarray], factors: list[np.ndarray]) -> dict[str, Any]:
        """All scores, from codes (N, D) and factors (N, F) of the training data and of the data."""
        seed = torch.initial_seed() % 2**32
        draws, c, v = np.random.default_rng(seed), np.concatenate(codes), np.concatenate(factors)
        information = mutual_information(c, v, self.bins)
        entropies = np.array([entropy(np.bincount(values)) for values in v.T])
        importances, informativeness = forests(codes, factors, self.trees, seed)
        disentanglement, completeness = disentanglement_and_completeness(importances)
        return {
            "mig": information_gap(information, entropies),
            "factor_vae_score": factor_vae_score(c, v, self.votes, self.vote_size, draws),
            "beta_vae_score": beta_vae_score(c, v, self.votes, self.vote_size, draws),
            "disentanglement": disentanglement,
            "completeness": completeness,
            "informativeness": informativeness,
            "mutual_information": information.tolist(),
            "entropies": entropies.tolist(),
        }


def varied_factors(train: Split, data: Split) -> list[np.ndarray]:
    """The factors (N, F) of the training data and of the data that have several values.

    Raises:
        ValueError: there are fewer than two.
    """
    both = [split.y.cpu().numpy() for split in (train, data) if split.y is not None and split.y.ndim == 2]
    varied = np.ptp(np.concatenate(both), 0) > 0 if len(both) == 2 else np.zeros(0, dtype=bool)
    if varied.sum() < 2:
        raise ValueError("task=disentanglement needs data with at least two known factors, such as data=sprites")
    return [factors[:, varied] for factors in both]


def entropy(counts: np.ndarray) -> float:
    """The entropy of relative frequencies, in nats."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def mutual_information(codes: np.ndarray, factors: np.ndarray, bins: int) -> np.ndarray:
    """I(c_d; v_f) in nats of codes (N, D), in bins, and factors (N, F): (D, F)."""
    edges = [np.histogram_bin_edges(code, bins)[1:-1] for code in codes.T]
    binned = [np.digitize(code, of_code) for code, of_code in zip(codes.T, edges, strict=True)]
    return np.array([[information(code, factor) for factor in factors.T] for code in binned])


def information(first: np.ndarray, second: np.ndarray) -> float:
    """The mutual information of two series of whole numbers from 0, by their relative frequencies, in nats."""
    joint = np.bincount(first * (second.max() + 1) + second)
    return max(0.0, entropy(np.bincount(first)) + entropy(np.bincount(second)) - entropy(joint))


def information_gap(information: np.ndarray, entropies: np.ndarray) -> float:
    """MIG, of information (D, F) and entropies (F,)."""
    second, first = np.sort(np.pad(information, ((1, 0), (0, 0))), 0)[-2:]
    return float(((first - second) / entropies).mean())


class FactorSampler:
    """Draws datapoints that share the value of one of their factors (N, F)."""

    def __init__(self, factors: np.ndarray, draws: np.random.Generator) -> None:
        self.factors, self.draws = factors, draws
        self.order = factors.argsort(0)
        self.ordered = np.take_along_axis(factors, self.order, 0)

    def random(self, size: int) -> tuple[int, np.ndarray]:
        """A factor, and the indices of any datapoints, (size,)."""
        return int(self.draws.integers(self.factors.shape[1])), self.draws.integers(len(self.factors), size=size)

    def partners(self, index: np.ndarray, factor: int) -> np.ndarray:
        """For each datapoint at `index` one that has the same value of the factor."""
        values, ordered = self.factors[index, factor], self.ordered[:, factor]
        low, high = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
        return self.order[self.draws.integers(low, high), factor]


def factor_vae_score(
    codes: np.ndarray, factors: np.ndarray, votes: int, vote_size: int, draws: np.random.Generator
) -> float:
    """The accuracy of the majority vote: codes (N, D), factors (N, F)."""
    variance = codes.var(0)
    active = variance > ACTIVE
    if not active.any():
        return 0.0
    codes, sampler = codes[:, active] / np.sqrt(variance[active]), FactorSampler(factors, draws)
    counts = np.zeros((2, active.sum(), factors.shape[1]), dtype=int)
    for count in counts:
        for _ in range(votes):
            factor, index = sampler.random(1)
            sharing = sampler.partners(index.repeat(vote_size), factor)
            count[codes[sharing].var(0).argmin(), factor] += 1
    fitted, scored = counts
    return float(scored[np.arange(len(scored)), fitted.argmax(1)].sum() / votes)


def beta_vae_score(
    codes: np.ndarray, factors: np.ndarray, votes: int, vote_size: int, draws: np.random.Generator
) -> float:
    """The accuracy of the linear classifier: codes (N, D), factors (N, F)."""
    from sklearn.linear_model import LogisticRegression  # takes most of a second, for which no other task need wait
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    sampler, differences, shared = FactorSampler(factors, draws), [], []
    for _ in range(2 * votes):
        factor, index = sampler.random(vote_size)
        differences.append(np.abs(codes[index] - codes[sampler.partners(index, factor)]).mean(0))
        shared.append(factor)
    x, y = np.array(differences), np.array(shared)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x[:votes], y[:votes])
    return float(classifier.score(x[votes:], y[votes:]))


def forests(codes: list[np.ndarray], factors: list[np.ndarray], trees: int, seed: int) -> tuple[np.ndarray, float]:
    """The importance (D, F) of each dimension for each factor, and the mean accuracy on the second codes (N, D)."""
    from sklearn.ensemble import RandomForestClassifier  # as above

    importances, accuracies = [], []
    for train, data in zip(factors[0].T, factors[1].T, strict=True):
        forest = RandomForestClassifier(trees, max_features=None, random_state=seed).fit(codes[0], train)
        importances.append(forest.feature_importances_)
        accuracies.append(forest.score(codes[1], data))
    return np.array(importances).T, float(np.mean(accuracies))


def disentanglement_and_completeness(importances: np.ndarray) -> tuple[float, float]:
    """Of importances (D, F): dimensions weighted by theirs, and the mean over factors."""
    dimensions, factors = importances.shape
    weights = importances.sum(1) / importances.sum().clip(1e-12)
    of_dimensions = [1 - entropy(row) / np.log(factors) if row.any() else 0.0 for row in importances]
    of_factors = [1 - entropy(column) / np.log(dimensions) if column.any() else 0.0 for column in importances.T]
    return float((weights * of_dimensions).sum()), float(np.mean(of_factors)) if dimensions > 1 else 1.0
