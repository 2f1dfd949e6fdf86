"""What a model of labels says about classes: which one a datapoint is of, and the same style in another."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from aevb import plots
from aevb.data.module import Split
from aevb.estimators.importance_sampling import ImportanceSampling
from aevb.estimators.label_enumeration import given_each_label
from aevb.tasks.base import Task, TaskResult, encoded_means, num_classes
from aevb.tasks.traversal import decoded
from aevb.types import Count, Size
from aevb.vae import VAE


@dataclass(frozen=True)
class Classify(Task):
    """Accuracy and calibration of p(y|x), and a picture of which classes are confused.

    p(y|x) is that of the model's classifier q(y|x) if it has one. Otherwise it is Bayes' rule, p(y|x) ∝ p(x|y) with
    equal p(y), where p(x|y) is estimated by importance sampling.

    The calibration error is Σ_b n_b / N |accuracy_b − confidence_b| over bins b of the confidence max_y p(y|x).

    Source of the calibration error: Guo, Pleiss, Sun & Weinberger (2017), On calibration of modern neural networks.

    Args:
        num_samples: Of z for each class, for Bayes' rule.
        bins: Of the confidence, of equal width.
    """

    name: ClassVar[str] = "classify"
    takes_condition: ClassVar[bool] = True

    num_samples: Count = 100
    bins: Count = 15

    @torch.no_grad()
    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        classes = num_classes(vae, self)
        if data.classes is None:
            raise ValueError("task=classify needs labels, and the data have none")
        log_p = self.log_probabilities(vae, data.x, rows)
        confidence, found = log_p.exp().max(-1)
        y = data.classes.to(found.device)
        right = (found == y).double()
        accuracy = float(right.mean())
        confusion = torch.zeros(classes, classes, dtype=torch.int64)
        confusion.index_put_((y.cpu(), found.cpu()), torch.ones(len(y), dtype=torch.int64), accumulate=True)
        results = {
            "accuracy": accuracy,
            "error": 1 - accuracy,
            "standard_error": (accuracy * (1 - accuracy) / len(y)) ** 0.5,
            "log_probability": float(log_p.gather(1, y.unsqueeze(1)).mean()),
            "calibration_error": calibration_error(confidence.double(), right, self.bins),
            "by": "bayes" if vae.q.classifier is None else "classifier",
            "confusion": confusion.tolist(),
        }
        words = [
            f"{1 - accuracy:.2%} of the labels are wrong by {'p(x|y)' if vae.q.classifier is None else 'q(y|x)'}; "
            f"confidence is off by {results['calibration_error']:.1%} on average"
        ]
        caption = f"classes of {len(y):,} datapoints, {accuracy:.2%} right"
        return TaskResult(results, words, {"confusion": plots.confusion(confusion, caption)})

    def log_probabilities(self, vae: VAE, x: Tensor, rows: int) -> Tensor:
        """log p(y|x) of each class, (N, classes)."""
        if vae.q.classifier is not None:
            return torch.cat([vae.q.classifier(chunk).logits for chunk in x.split(1000)])
        estimator = ImportanceSampling(self.num_samples)
        bounds = [
            torch.stack([found.value for found in given_each_label(vae, chunk, estimator, rows)], -1)
            for chunk in x.split(max(1, rows // self.num_samples))
        ]
        return torch.cat(bounds).log_softmax(-1)


def calibration_error(confidence: Tensor, right: Tensor, bins: int) -> float:
    """The expected calibration error: confidence (N,) in [0, 1], right (N,) 0 or 1."""
    bin_of = (confidence * bins).long().clamp(max=bins - 1)
    gaps = torch.zeros(bins, dtype=confidence.dtype, device=confidence.device).index_add_(0, bin_of, right - confidence)
    return float(gaps.abs().sum() / len(right))


@dataclass(frozen=True)
class Analogies(Task):
    """A row for each datapoint: itself, then the mean of p(x|z, y) for each class y at its own z.

    z is the mean of q(z|x, c): the style of the datapoint, which the label does not say.

    Source: Kingma, Rezende, Mohamed & Welling (2014), figure 1 (c).

    Args:
        count: Rows, at most.
    """

    name: ClassVar[str] = "analogies"
    takes_condition: ClassVar[bool] = True

    count: Size = 10

    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        classes = num_classes(vae, self)
        data = data.take(slice(self.count))
        z = encoded_means(vae, data).repeat_interleave(classes, 0)
        y = torch.eye(classes, device=z.device).repeat(len(data.x), 1)
        means = decoded(vae.p, z, rows, y).split(classes)
        named = [("", torch.cat([x[None], row])) for x, row in zip(data.x, means, strict=True)]
        caption = "a datapoint, and means of p(x|z, y) for each class y at its z"
        picture = plots.show(named, vae.p.data_shape, caption, *plots.limits(data.x))
        return TaskResult({"rows": len(named), "classes": classes}, [], {"": picture})
