"""Linear classification of the latent code."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from aevb.data.labels import balanced
from aevb.data.module import Split
from aevb.tasks.base import Task, TaskResult, encoded_means
from aevb.types import AtLeastTwo, Count, Positive
from aevb.vae import VAE


@dataclass(frozen=True)
class Probe(Task):
    """Accuracy of a logistic regression from the means of q(z|x) to the labels, compared with the most common label.

    It is fitted to standardized means of training datapoints.

    Args:
        train_size: Maximum number of training datapoints.
        num_labels: Number of these with a label, as many of each class, as for M1 of Kingma et al. (2014). None: all.
        inverse_penalty: C of scikit-learn's `LogisticRegression`.
    """

    name: ClassVar[str] = "probe"
    takes_condition: ClassVar[bool] = True
    train_limit: ClassVar[int | None] = None

    train_size: AtLeastTwo = 10_000
    inverse_penalty: Positive = 1.0
    num_labels: Count | None = None

    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        if data.classes is None or train.classes is None:
            raise ValueError("task=probe needs labels, and the data set of this run has none")
        train = train.take(slice(self.train_size))
        if self.num_labels is not None and train.classes is not None:
            train = train.take(balanced(train.classes, self.num_labels, torch.initial_seed() % 2**32))
        assert train.classes is not None
        y = train.classes.cpu().numpy()
        labels = data.classes.cpu().numpy()
        classes = len(np.unique(y))
        if classes < 2 or classes > len(y) / 2:
            raise ValueError(
                f"task=probe needs labels that are classes, got {classes:,} different labels of {len(y):,} datapoints"
            )
        # They take most of a second, for which no other task need wait.
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=self.inverse_penalty, max_iter=1000))
        classifier.fit(encoded_means(vae, train).cpu().numpy(), y)
        accuracy = float(classifier.score(encoded_means(vae, data).cpu().numpy(), labels))
        most_common = torch.from_numpy(y).mode().values.item()
        guess = float((labels == most_common).mean())
        results = {
            "accuracy": accuracy,
            "standard_error": (accuracy * (1 - accuracy) / len(labels)) ** 0.5,
            "most_common_label": guess,
            "fitted_to": len(y),
        }
        of_z = "z" if data.c is None else "z, for which the encoder is given c,"
        words = [f"accuracy of a linear classifier of {of_z} {accuracy:.1%}, of the most common label {guess:.1%}"]
        return TaskResult(results, words, {})
