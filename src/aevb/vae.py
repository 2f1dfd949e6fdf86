"""The two models of the paper: p_θ(x, z) and q_φ(z|x)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.checks import whole_number
from aevb.likelihoods import Likelihood
from aevb.networks import Body, initialize
from aevb.posteriors import Posterior
from aevb.priors import Prior


class GenerativeModel(nn.Module):
    """p_θ(x, z) = p(z) p(x|z): a prior, a decoder and a likelihood head.

    Shapes: z (S, B, latent_dim), samples first, also for S = 1.
    """

    def __init__(self, prior: Prior, decoder: Body, head: Likelihood) -> None:
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

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z): z (S, B, latent_dim) → batch (S, B), event `data_shape`."""
        return cast(Distribution, self.head(self.decoder(z)))

    def log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x, z) = log p(x|z) + log p(z) in nats: x (B, *data_shape), z (S, B, latent_dim) → (S, B)."""
        return self.likelihood(z).log_prob(x) + self.prior().log_prob(z)


class RecognitionModel(nn.Module):
    """q_φ(z|x): an encoder and a posterior head.

    Shapes: x (B, *data_shape) → batch (B,), event (latent_dim,).
    """

    def __init__(self, data_shape: Sequence[int], encoder: Body, head: Posterior) -> None:
        super().__init__()
        self.data_shape = tuple(data_shape)
        self.encoder = encoder
        self.head = head

    def forward(self, x: Tensor) -> Distribution:
        return cast(Distribution, self.head(self.encoder(x)))


class Model(NamedTuple):
    """θ and φ."""

    generative: GenerativeModel
    recognition: RecognitionModel


def build(
    latent_dim: int,
    data_shape: Sequence[int],
    encoder: Callable[..., Body],
    posterior: Callable[..., Posterior],
    prior: Callable[..., Prior],
    decoder: Callable[..., Body],
    likelihood: Callable[..., Likelihood],
    initialization: str = "normal",
    initialization_std: float = 0.1,
) -> Model:
    """Join the parts of a model. Each part is a factory that is called with the shapes that its neighbours imply.

    Example:
        >>> from functools import partial
        >>> from aevb.likelihoods import Bernoulli
        >>> from aevb.networks import MLPDecoder, MLPEncoder
        >>> from aevb.posteriors import DiagonalGaussian
        >>> from aevb.priors import StandardNormal
        >>> p, q = build(
        ...     latent_dim=2,
        ...     data_shape=(1, 8, 8),
        ...     encoder=partial(MLPEncoder, hidden=[200]),
        ...     posterior=DiagonalGaussian,
        ...     prior=StandardNormal,
        ...     decoder=partial(MLPDecoder, hidden=[200]),
        ...     likelihood=Bernoulli,
        ... )
        >>> p.prior().event_shape
        torch.Size([2])

    Args:
        latent_dim: Dimensions of z.
        data_shape: Shape (C, H, W) of one datapoint.
        encoder: (data_shape) → body with an `out_shape` of one entry.
        posterior: (in_features, latent_dim) → posterior head.
        prior: (latent_dim) → prior.
        decoder: (latent_dim, data_shape) → body with an `out_shape`.
        likelihood: (in_shape, data_shape) → likelihood head.
        initialization: `normal` (the paper's), `xavier` or `pytorch`; see `aevb.networks.initialize`.
        initialization_std: σ of `normal`.

    Raises:
        ValueError: latent_dim is not a positive whole number, or a part refuses its settings.
    """
    whole_number(latent_dim, "model.latent_dim")
    encoder_body = encoder(data_shape)
    decoder_body = decoder(latent_dim, data_shape)
    recognition = RecognitionModel(data_shape, encoder_body, posterior(encoder_body.out_shape[0], latent_dim))
    generative = GenerativeModel(prior(latent_dim), decoder_body, likelihood(decoder_body.out_shape, data_shape))
    for module in (generative, recognition):
        initialize(module, initialization, initialization_std)
    generative.prior.connect(recognition)
    return Model(generative, recognition)
