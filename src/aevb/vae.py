"""The model of the paper: p_θ(x, z), q_φ(z|x), and what one asks of the two together."""

import copy
import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Self, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.distributions.kl import rsample_and_log_prob, sample_and_kl
from aevb.inputs import as_batch, as_condition, as_latents, require_finite
from aevb.likelihoods import Likelihood
from aevb.networks import Backbone, Classifier, as_weights, condition_shape_of, evaluation_mode, given, initialize
from aevb.networks.initialization import Initialization
from aevb.posteriors import RecognitionHead
from aevb.priors import Prior
from aevb.types import Checked, Layers, Positive, Shape, Size, check

Method = TypeVar("Method", bound=Callable[..., Any])


class Model(nn.Module):
    """A model of which some parts may take a condition c, such as a label."""

    condition: Tensor | None = None
    """c (B, *condition_shape), where the model is given one."""

    def given(self, c: Tensor | None) -> Self:
        """The model given c: a shallow copy, which shares the parameters. The model itself for None."""
        if c is None:
            return self
        model = copy.copy(self)
        model._modules = {name: part and given(part, c) for name, part in self._modules.items()}
        model.condition = c
        return model


class GenerativeModel(Model):
    """p_θ(x, z) = p(z) p(x|z): a prior, a decoder and a likelihood head.

    Given a condition c it is p(x, z|c) = p(z|c) p(x|z, c), in those of its parts that take one.

    Shapes: z (S, B, latent_dim), samples first, also for S = 1; c (B, *condition_shape).
    """

    def __init__(self, prior: Prior, decoder: Backbone, head: Likelihood) -> None:
        super().__init__()
        self.prior = prior
        self.decoder = decoder
        self.head = head

    @property
    def latent_dim(self) -> int:
        """Dimensions of z."""
        return self.prior.latent_dim

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of one datapoint."""
        return self.head.data_shape

    def sample_prior(self, num_samples: int, count: int) -> Tensor:
        """Draws z ~ p(z), (num_samples, count, latent_dim); count is the number of conditions, where there are some."""
        prior = self.prior()
        return cast(Tensor, prior.sample(torch.Size((num_samples, count)[: 2 - len(prior.batch_shape)])))

    @property
    def range_parts(self) -> list[Any]:
        """The parts that depend on the range of the training data: a head that is bounded, pseudo-inputs of a prior."""
        parts = [part for part in self.prior.modules() if hasattr(part, "adapt_to")]
        return [self.head, *parts] if getattr(self.head, "bounded", False) is not False else parts

    def adapt_to(self, lowest: float, highest: float) -> None:
        """Fix what depends on the range of the training data; called before training.

        Raises:
            ValueError: a setting does not suit the data.
        """
        for part in self.range_parts:
            part.adapt_to(lowest, highest)

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z): z (S, B, latent_dim) → batch (S, B), event `data_shape`."""
        return cast(Distribution, self.head(self.decoder(as_weights(z, self.decoder))))

    def log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x, z) = log p(x|z) + log p(z) in nats: x (B, *data_shape), z (S, B, latent_dim) → (S, B)."""
        return self.likelihood(z).log_prob(x) + self.prior().log_prob(z)


class RecognitionModel(Model):
    """q_φ(z|x): an encoder and a posterior head; given a condition c, q(z|x, c).

    Where c is a label, it may have a classifier q_φ(y|x) beside them.

    Shapes: x (B, *data_shape) → batch (B,), event (latent_dim,).
    """

    def __init__(
        self, data_shape: Sequence[int], encoder: Backbone, head: RecognitionHead, classifier: Classifier | None = None
    ) -> None:
        super().__init__()
        self.data_shape = tuple(data_shape)
        self.encoder = encoder
        self.head = head
        self.classifier = classifier

    def forward(self, x: Tensor) -> Distribution:
        return cast(Distribution, self.head(self.encoder(as_weights(x, self.encoder))))


def evaluating(method: Method) -> Method:
    """A method without gradients, in evaluation mode: training leaves dropout and relaxed draws on."""

    @wraps(method)
    def call(vae: "VAE", *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad(), evaluation_mode(vae):
            return method(vae, *args, **kwargs)

    return cast(Method, call)


class VAE(Checked, nn.Module):
    """A variational auto-encoder, joined from factories that are called with the shapes their neighbours imply.

    Its methods give tensors without gradients, in evaluation mode whatever the mode of the model; an objective works
    with `p` and `q` instead. They take tensors, NumPy arrays or lists, converted and checked as training data are:
    uint8 is read as x / 255, the channel of grey images may be missing, and a `ValueError` of one line refuses another
    shape, NaN, and values outside the support. Where the model takes a condition, such as a label, they need one for
    each datapoint: c (B, *condition_shape), of numbers that are taken as they are.

    Example:
        >>> from functools import partial
        >>> from aevb.likelihoods import Bernoulli
        >>> from aevb.networks import MLPDecoder, MLPEncoder
        >>> from aevb.posteriors import DiagonalGaussian
        >>> from aevb.priors import StandardNormal
        >>> vae = VAE(
        ...     latent_dim=2,
        ...     data_shape=(1, 8, 8),
        ...     encoder=partial(MLPEncoder, hidden=[200]),
        ...     posterior=DiagonalGaussian,
        ...     prior=StandardNormal,
        ...     decoder=partial(MLPDecoder, hidden=[200]),
        ...     likelihood=Bernoulli,
        ... )
        >>> vae.sample(3).shape
        torch.Size([3, 1, 8, 8])

    Args:
        latent_dim: Dimensions of z.
        data_shape: Shape (C, H, W) of one datapoint.
        encoder: (data_shape) → backbone with an `out_shape` of one entry.
        posterior: (in_features, latent_dim) → posterior head.
        prior: (latent_dim) → prior.
        decoder: (latent_dim, data_shape) → backbone with an `out_shape`.
        likelihood: (in_shape, data_shape) → likelihood head.
        initialization: `normal` (the paper's), `xavier` or `pytorch`; see `aevb.networks.initialize`.
        initialization_std: σ of `normal`.
        latent_dims: Dimensions of z_1, …, z_L of a model with several layers; they add up to latent_dim.
        condition_shape: Shape of one datapoint's condition c, which parts take that have this setting; None: none does.
        classifier: (data_shape, num_classes) → q(y|x), where conditions are one-hot labels y.

    Attributes:
        p: The generative model, θ.
        q: The recognition model, φ.
        condition_shape: See above.

    Raises:
        ValueError: latent_dims do not add up to latent_dim, condition_shape is not that of the parts, or a part refuses
            its settings.
    """

    p: GenerativeModel
    q: RecognitionModel

    condition_is_optional = False
    """Whether the model does without a condition, though it takes one."""

    def __init__(
        self,
        latent_dim: Size,
        data_shape: Shape,
        encoder: Callable[..., Backbone],
        posterior: Callable[..., RecognitionHead],
        prior: Callable[..., Prior],
        decoder: Callable[..., Backbone],
        likelihood: Callable[..., Likelihood],
        initialization: Initialization = "normal",
        initialization_std: Positive = 0.1,
        latent_dims: Layers | None = None,
        condition_shape: Shape | None = None,
        classifier: Callable[..., Classifier] | None = None,
    ) -> None:
        super().__init__()
        if latent_dims is not None and sum(latent_dims) != latent_dim:
            raise ValueError(f"latent_dims must add up to latent_dim, {latent_dim}, got {list(latent_dims)}")
        q_backbone, p_backbone = encoder(data_shape), decoder(latent_dim, data_shape)
        q_of_y = None
        if classifier is not None and condition_shape is not None:
            q_of_y = classifier(data_shape, condition_shape[0])
        self.q = RecognitionModel(data_shape, q_backbone, posterior(q_backbone.out_shape[0], latent_dim), q_of_y)
        self.p = GenerativeModel(prior(latent_dim), p_backbone, likelihood(p_backbone.out_shape, data_shape))
        for module in (self.p, self.q):
            initialize(module, initialization, initialization_std)
        self._connect()
        if condition_shape is not None and self.condition_shape != tuple(condition_shape):
            got = "no condition" if self.condition_shape is None else list(self.condition_shape)
            raise ValueError(
                f"condition_shape must be that of the parts, which take {got}, got {list(condition_shape)}"
            )

    @classmethod
    def join(cls, p: GenerativeModel, q: RecognitionModel) -> Self:
        """A VAE of two models that are built and initialized already."""
        vae = cls.__new__(cls)
        nn.Module.__init__(vae)
        vae.p, vae.q = p, q
        vae._connect()
        return vae

    def _connect(self) -> None:
        self.condition_shape = condition_shape_of(self.p, self.q)
        for part in (self.p.prior, self.p.head, self.q.head):
            part.connect(self.p, self.q)
        for backbone in (self.p.decoder, self.q.encoder):
            if isinstance(backbone, Backbone):  # any module with an out_shape will do
                backbone.connect(self.p, self.q)

    @property
    def needs_condition(self) -> bool:
        """Whether the model must be given a condition."""
        return self.condition_shape is not None and not self.condition_is_optional

    def batch(self, x: Any) -> Tensor:
        """x (B, *data_shape) as the model takes it, on its device.

        Raises:
            ValueError: x has another shape, is not finite, or is outside of the likelihood's support.
        """
        x = as_batch(x, self.p.data_shape, self.p.head.layer.weight)
        self.p.head.check(x)
        return x

    def given(self, c: Any, count: int) -> Self:
        """A shallow copy with the condition c (B, *condition_shape) of `count` datapoints, in p and q.

        Itself, where c is None and the model takes no condition, or has been given one before.

        Raises:
            ValueError: c has another shape, is not finite, is missing, or is not used by the model.
        """
        if c is None and self.p.condition is not None:
            c = self.p.condition
        c = as_condition(c, self.condition_shape, count, self.p.head.layer.weight, self.condition_is_optional)
        if c is None:
            return self
        self.check_condition(c)
        vae = copy.copy(self)
        vae._modules = self._modules | {"p": self.p.given(c), "q": self.q.given(c)}
        return vae

    def check_condition(self, c: Tensor) -> None:
        """Check that the values of conditions c (B, *condition_shape) are possible; a `ValueError` where not."""
        hidden = int(c.reshape(len(c), -1).isnan().any(1).sum())
        if hidden:
            raise ValueError(
                f"c must be finite, but is NaN for {hidden:,} of {len(c):,} datapoints, as labels are that are hidden"
            )
        require_finite(c, "c")

    def latents(self, z: Any) -> Tensor:
        """z (..., latent_dim) as the model takes it, on its device.

        Raises:
            ValueError: z has another shape, or is not finite.
        """
        return as_latents(z, self.p.latent_dim, self.p.head.layer.weight)

    @evaluating
    def elbo(self, x: Any, num_samples: int = 1, c: Any = None) -> Tensor:
        """The evidence lower bound of each datapoint, in nats: x (B, *data_shape) → (B,)."""
        x = self.batch(x)
        vae = self.given(c, len(x))
        posterior, prior = vae.q(x), vae.p.prior()
        check(num_samples, Size, "num_samples")
        z, kl = sample_and_kl(posterior, prior, num_samples)
        return vae.p.likelihood(z).log_prob(x).mean(0) - kl

    @evaluating
    def log_marginal(self, x: Any, num_samples: int = 1000, c: Any = None) -> Tensor:
        """log p(x) of each datapoint by importance sampling from q(z|x), in nats: x (B, *data_shape) → (B,).

        In expectation a lower bound, tight as num_samples grows (Burda et al. 2016, eq. 8). Memory grows with
        num_samples × B; pass few datapoints at a time for a large num_samples. Given a condition it is log p(x|c).
        """
        x = self.batch(x)
        vae = self.given(c, len(x))
        check(num_samples, Size, "num_samples")
        z, log_q = rsample_and_log_prob(vae.q(x), (num_samples,))
        return (vae.p.log_joint(x, z) - log_q).logsumexp(0) - math.log(num_samples)

    @evaluating
    def encode(self, x: Any, c: Any = None) -> Distribution:
        """q(z|x): x (B, *data_shape) → batch (B,), event (latent_dim,)."""
        x = self.batch(x)
        return cast(Distribution, self.given(c, len(x)).q(x))

    @evaluating
    def decode(self, z: Any, c: Any = None) -> Distribution:
        """p(x|z): z (..., latent_dim) → batch (...), event `data_shape`; with c (B, …), z is (..., B, latent_dim)."""
        z = self.latents(z)
        return self.given(c, z.shape[-2]).p.likelihood(z)

    @evaluating
    def sample(self, num_samples: int, mean: bool = True, c: Any = None) -> Tensor:
        """Draws from the model: z ~ p(z), then the mean of p(x|z) or, with mean=False, x ~ p(x|z).

        Shapes: → (num_samples, *data_shape); c (num_samples, *condition_shape).
        """
        check(num_samples, Size, "num_samples")
        p = self.given(c, num_samples).p
        likelihood = p.likelihood(p.sample_prior(1, num_samples))
        return (likelihood.mean if mean else likelihood.sample())[0]

    @evaluating
    def reconstruct(self, x: Any, c: Any = None) -> Tensor:
        """The mean of p(x|z) at a draw z ~ q(z|x): x (B, *data_shape) → (B, *data_shape)."""
        x = self.batch(x)
        vae = self.given(c, len(x))
        return vae.p.likelihood(vae.q(x).sample(torch.Size((1,)))).mean[0]
