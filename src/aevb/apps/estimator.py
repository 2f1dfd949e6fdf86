"""A variational auto-encoder as an estimator of scikit-learn."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from aevb.apps.python import fit
from aevb.inputs import as_numbers
from aevb.tasks.base import posterior_mean
from aevb.training.noise import seed_noise

ROWS = 1000
"""Datapoints at a time."""


class VAEEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """`aevb.fit` in scikit-learn's manners, for pipelines, grid searches and cross-validation.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(200, 5))
        >>> VAEEstimator(latent_dim=2, hidden=[8], max_epochs=2).fit_transform(x).shape
        (200, 2)

    Args:
        likelihood: As for `aevb.fit`; Gaussian, as columns of scikit-learn's data have any values.
        latent_dim: Dimensions of z.
        hidden: Units of the encoder's hidden layers.
        batch_size: Size of a minibatch.
        learning_rate: Of the optimizer.
        max_samples: Training samples before training ends.
        max_epochs: Epochs before training ends.
        random_state: The seed of weights, order and noise.
        num_samples: Samples of z for each datapoint in `score_samples`.
        overrides: Anything else, as after `train.py`.
        verbose: Whether to show progress and results.

    Attributes:
        vae_: The trained `VAE`.
    """

    def __init__(
        self,
        likelihood: str = "gaussian",
        latent_dim: int | None = None,
        hidden: Sequence[int] | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        max_samples: int | None = None,
        max_epochs: int | None = None,
        random_state: int = 0,
        num_samples: int = 100,
        overrides: Sequence[str] = (),
        verbose: bool = False,
    ) -> None:
        self.likelihood = likelihood
        self.latent_dim = latent_dim
        self.hidden = hidden
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_samples = max_samples
        self.max_epochs = max_epochs
        self.random_state = random_state
        self.num_samples = num_samples
        self.overrides = overrides
        self.verbose = verbose

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # float32 throughout
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Train on X, (N, D), (N, H, W) or (N, C, H, W); y is ignored."""
        X = validate_data(self, X, allow_nd=True, ensure_min_samples=3)  # noqa: N806
        settings = self.get_params()
        del settings["num_samples"]
        if X.ndim == 4:
            settings["overrides"] = ["data.channels_last=false", *self.overrides]
        self.vae_ = fit(X, seed=settings.pop("random_state"), **settings)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Means of q(z|x), (N, latent_dim); of draws where they have no closed form, as those of several layers."""
        with isolate_rng():
            seed_noise(self.random_state, "transform")
            return self._by_rows(X, lambda x: posterior_mean(self.vae_.encode(x)))

    @torch.no_grad()
    def inverse_transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Means of p(x|z), in the shape of the training data: z (N, latent_dim) → (N, …)."""
        check_is_fitted(self)
        means = self.vae_.decode(X).mean
        return means.reshape(len(means), *self._shape()).numpy()

    def score_samples(self, X: Any) -> np.ndarray:  # noqa: N803
        """log p(x) of each datapoint in nats, (N,), by importance sampling with `num_samples` samples of z.

        A lower bound in expectation. The noise depends on `random_state` and on the order of the datapoints.
        """
        with isolate_rng():
            seed_noise(self.random_state, "score_samples")
            return self._by_rows(X, lambda x: self.vae_.log_marginal(x, self.num_samples))

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803
        """The mean of `score_samples`; y is ignored."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1) -> np.ndarray:
        """Draws x ~ p(x), in the shape of the training data."""
        check_is_fitted(self)
        return self.vae_.sample(n_samples, mean=False).reshape(n_samples, *self._shape()).numpy()

    @property
    def _n_features_out(self) -> int:
        """The number of columns of `transform`, which scikit-learn names."""
        latent_dim: int = self.vae_.p.latent_dim
        return latent_dim

    def _shape(self) -> tuple[int, ...]:
        """The shape of a datapoint as it came."""
        shape = self.vae_.p.data_shape
        return (shape[-1],) if shape[:2] == (1, 1) else shape

    @torch.no_grad()
    def _by_rows(self, X: Any, function: Any) -> np.ndarray:  # noqa: N803
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, allow_nd=True)  # noqa: N806
        x = as_numbers(X, "X")  # which the model converts as it does in training: uint8 becomes [0, 1]
        x = x.view(len(x), *self.vae_.p.data_shape) if x.ndim == 2 else x
        return torch.cat([function(part) for part in x.split(ROWS)]).numpy()
