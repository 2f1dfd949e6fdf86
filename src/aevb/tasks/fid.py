"""Samples of the model beside the data: Fréchet distance, precision and recall of features."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from aevb.data.module import Split
from aevb.errors import ConfigError, extra, first_line
from aevb.networks import Backbone, Classifier, ConvEncoder, MLPEncoder
from aevb.plots import is_image
from aevb.tasks.base import Task, TaskResult
from aevb.types import Count
from aevb.vae import VAE

Features = Callable[[Tensor], Tensor]
"""x (B, *data_shape) → features (B, F)."""

BATCH = 100
FEATURES = 64
"""Of the classifier that is trained here."""


@dataclass(frozen=True)
class FID(Task):
    """The Fréchet distance of features of samples and of data, and the precision and recall of the samples.

    With means μ and covariances Σ of the features of data and samples the distance is

        FID = ‖μ_d − μ_s‖² + tr(Σ_d + Σ_s − 2 (Σ_d Σ_s)^½).

    Precision is the share of the samples within the data's manifold, recall that of the data within the samples'; the
    manifold of points is the union of balls around each, as large as the distance to its k-th neighbour.

    Features are those of a network in an ONNX file, or else the last hidden layer of a classifier that is trained here
    on the labels of the training data. Results with the same features alone can be compared, and with as many
    datapoints: few have a distance well above 0 even from others of the same law. That of as many training datapoints
    is reported, too.

    Sources: Heusel, Ramsauer, Unterthiner, Nessler & Hochreiter (2017); precision and recall: Kynkäänniemi, Karras,
    Laine, Lehtinen & Aila (2019).

    Args:
        features: An ONNX file whose network takes x (B, *data_shape) as the model does and has features (B, F). None:
            the classifier.
        mean: Samples are means of p(x|z); else draws of it.
        neighbours: k.
        steps: Optimizer steps of the classifier.
    """

    name: ClassVar[str] = "fid"
    takes_condition: ClassVar[bool] = True
    train_limit: ClassVar[int | None] = None

    features: str | None = None
    mean: bool = True
    neighbours: Count = 3
    steps: Count = 1000

    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        count = min(len(data.x), len(train.x))
        if count <= self.neighbours:
            raise ValueError(f"limit must be above task.neighbours, {self.neighbours}, got {count}")
        data = data.take(slice(count))
        features, about, by = self.network(data, train)
        samples = torch.cat([vae.sample(len(x), self.mean, c) for x, _, c in data.chunks(min(rows, 1000))])
        of_data, of_samples, of_train = (extracted(features, x) for x in (data.x, samples, train.x[:count]))
        precision, recall = precision_and_recall(of_data, of_samples, self.neighbours)
        results = {
            "fid": frechet_distance(of_data, of_samples),
            "fid_of_training_data": frechet_distance(of_data, of_train),
            "precision": precision,
            "recall": recall,
            "num_features": of_data.shape[1],
            **about,
        }
        words = [
            f"FID {results['fid']:.3f} ({results['fid_of_training_data']:.3f} of as many training datapoints), "
            f"precision {precision:.1%}, recall {recall:.1%}, of {count:,} samples by {by}"
        ]
        return TaskResult(results, words)

    def network(self, data: Split, train: Split) -> tuple[Features, dict[str, Any], str]:
        """The features, what results say of them, and what they are of, in words."""
        if self.features is not None:
            return onnx_features(self.features, data.x), {}, self.features
        if train.classes is None or data.classes is None:
            raise ValueError("task.features must be an ONNX file where the data have no labels, got null")
        labels, y = train.classes.unique(return_inverse=True)
        if not 2 <= len(labels) <= len(y) / 2:
            raise ValueError(
                "task.features must be an ONNX file where labels are no classes, got null and "
                f"{len(labels):,} different labels of {len(y):,} datapoints"
            )
        classifier = trained_classifier(train.x, y, len(labels), self.steps)
        found = torch.cat([classifier(part).logits.argmax(-1) for part in data.x.split(1000)])
        accuracy = float((labels[found] == data.classes).double().mean())
        by = f"features of a classifier trained here, which is right for {accuracy:.1%} of the data"
        return classifier.backbone, {"classifier_accuracy": accuracy}, by


@torch.no_grad()
def extracted(features: Features, x: Tensor) -> Tensor:
    """Features (N, F) of datapoints, in float64 on the CPU."""
    return torch.cat([features(part).cpu().double() for part in x.split(1000)])


def trained_classifier(x: Tensor, y: Tensor, num_classes: int, steps: int) -> Classifier:
    """A classifier of x (N, *data_shape) by classes y (N,): two convolutions, or a hidden layer for vectors."""
    shape = tuple(x.shape[1:])
    backbone: Callable[..., Backbone] = partial(MLPEncoder, hidden=(200, FEATURES), activation="relu")
    if is_image(shape):
        backbone = partial(ConvEncoder, channels=(32, 64), hidden=(FEATURES,), activation="relu")
    classifier = Classifier(shape, num_classes, backbone).to(x.device)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=0.001)
    with torch.enable_grad():
        for _ in range(steps):
            chosen = torch.randint(len(x), (BATCH,), device=x.device)
            loss = nn.functional.cross_entropy(classifier(x[chosen]).logits, y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return classifier.eval().requires_grad_(False)


def onnx_features(file: str, x: Tensor) -> Features:
    """The network of an ONNX file, which holds operations and numbers alone, as features of data like x.

    Raises:
        ConfigError: the extra is missing, or the file cannot be read, or does not take such data.
    """
    with extra("onnx", "task.features"):
        import onnxruntime
    if not Path(file).is_file():
        raise ConfigError(f"task.features must be an ONNX file, got {file}")

    def features(x: Tensor) -> Tensor:
        (found, *_) = session.run(None, {session.get_inputs()[0].name: x.float().cpu().numpy()})
        return torch.from_numpy(found).flatten(1)

    try:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        features(x[:2])
    except Exception as error:  # onnxruntime has kinds of errors of its own for each thing that can be wrong
        raise ConfigError(f"task.features: {file} takes no data (B, {shape_of(x)}): {first_line(error)}") from error
    return features


def shape_of(x: Tensor) -> str:
    """The shape of one of the datapoints x, in words."""
    return ", ".join(map(str, x.shape[1:]))


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Between Gaussians with the means and covariances of points (N, F) and (M, F).

    The trace of (Σ_1 Σ_2)^½ is that of (R Σ_2 R)^½ with R = Σ_1^½, which is symmetric.
    """
    of_first, of_second = (torch.atleast_2d(points.T.cov()) for points in (first, second))
    values, vectors = torch.linalg.eigh(of_first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    roots = torch.linalg.eigvalsh(root @ of_second @ root).clamp(min=0).sqrt()
    distance = (first.mean(0) - second.mean(0)).square().sum()
    return float(distance + of_first.trace() + of_second.trace() - 2 * roots.sum())


def precision_and_recall(data: Tensor, samples: Tensor, neighbours: int) -> tuple[float, float]:
    """The share of samples (M, F) within the data's manifold, and that of data (N, F) within the samples'."""
    return share_within(samples, data, neighbours), share_within(data, samples, neighbours)


def share_within(points: Tensor, manifold: Tensor, neighbours: int) -> float:
    """The share of the points (N, F) in a ball around a point of the manifold (M, F), up to its k-th neighbour."""
    distances = (torch.cdist(part, manifold) for part in manifold.split(1000))
    radii = torch.cat([part.kthvalue(neighbours + 1).values for part in distances])  # the nearest is the point itself
    inside = [(torch.cdist(part, manifold) <= radii).any(1) for part in points.split(1000)]
    return float(torch.cat(inside).double().mean())
