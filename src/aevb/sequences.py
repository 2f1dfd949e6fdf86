"""Models of sequences: a latent variable at each step."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from aevb.likelihoods import Likelihood, OptimalGaussian, PerStep, Recurrent
from aevb.networks import Backbone, EachStep, MLPDecoder
from aevb.networks.initialization import Initialization
from aevb.posteriors import RecognitionHead
from aevb.priors import Prior
from aevb.types import Positive, Shape, Size
from aevb.vae import VAE


class SequenceVAE(VAE):
    """A VAE of sequences x = [x_1, …, x_T] with z = [z_1, …, z_T]; encoder, decoder and likelihood are those of a step.

    The likelihood is Π_t p(x_t|z_t) (`PerStep`), or Π_t p(x_t | x_<t, z_≤t) with a recurrent state (`Recurrent`). The
    condition c (B,) is the length of each sequence, in steps; without one it is T.

    Args:
        latent_dim: T · step_dim.
        step_dim: Dimensions of z_t.
        data_shape: (T, *step_shape).
        encoder: (step_shape) → backbone of one step, for x_t.
        posterior: (features of one step, latent_dim) → posterior over steps.
        prior: (latent_dim) → prior over steps.
        decoder: (step_dim or width of the state, step_shape) → backbone of one step.
        likelihood: (in_shape, step_shape) → likelihood of one step.
        recurrent_width: Units of the state of an autoregressive likelihood; None: p(x_t|z_t).
        initialization: See `VAE`.
        initialization_std: See there.

    Raises:
        ValueError: data_shape has no steps, latent_dim is not T · step_dim, or a part refuses its settings.
    """

    condition_is_optional = True

    def __init__(
        self,
        latent_dim: Size,
        step_dim: Size,
        data_shape: Shape,
        encoder: Callable[..., Backbone],
        posterior: Callable[..., RecognitionHead],
        prior: Callable[..., Prior],
        decoder: Callable[..., Backbone],
        likelihood: Callable[..., Likelihood],
        recurrent_width: Size | None = None,
        initialization: Initialization = "xavier",
        initialization_std: Positive = 0.1,
    ) -> None:
        steps, *step_shape = data_shape
        if len(step_shape) not in (1, 3):
            raise ValueError(
                f"a model of sequences needs data of shape [T, D] or [T, C, H, W], got {list(data_shape)}; choose "
                "data=jsb, freyface_video or mnist_rows, or data.sequences=true with data=array"
            )
        if latent_dim != steps * step_dim:
            raise ValueError(
                f"latent_dim must be step_dim for each of the {steps} steps, {steps * step_dim}, got {latent_dim}; set "
                "model.step_dim"
            )
        of_steps: Callable[..., Likelihood] = partial(PerStep, head=likelihood)
        of_z: Callable[..., Backbone] = decoder
        if recurrent_width is not None:
            of_steps = partial(Recurrent, decoder=decoder, head=likelihood, width=recurrent_width)
            of_z = partial(MLPDecoder, hidden=[])
        super().__init__(
            latent_dim,
            data_shape,
            encoder=lambda _: encoder(step_shape),
            posterior=posterior,
            prior=prior,
            decoder=lambda *_: EachStep(of_z(step_dim, step_shape), steps),
            likelihood=of_steps,
            initialization=initialization,
            initialization_std=initialization_std,
        )

    def check_condition(self, c: Tensor) -> None:
        steps = self.p.data_shape[0]
        wrong = c[(c < 1) | (c > steps) | (c != c.round()) | ~c.isfinite()]
        if len(wrong):
            raise ValueError(f"lengths must be whole numbers from 1 to {steps}, got {float(wrong[0]):g}")
        if isinstance(getattr(self.p.head, "head", None), OptimalGaussian) and bool((c < steps).any()):
            raise ValueError(
                "likelihood OptimalGaussian fits σ² to all steps, and some are padding; use scalar_gaussian"
            )
