"""`AEVB`: algorithm 1 of the paper as a `LightningModule`."""

import hashlib
import logging
import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer

from aevb.checks import whole_number
from aevb.data.loader import range_of_loader
from aevb.errors import NonFiniteLossError
from aevb.objectives import Objective
from aevb.training.extension import End, end_of_training, restore_noise
from aevb.training.steps import StepRunner, TrainingStep, check_steps, make_runner
from aevb.vae import VAE

log = logging.getLogger("aevb")


class AEVB(pl.LightningModule):
    """Trains θ and φ of a `VAE` jointly.

    One Lightning batch holds a block of K minibatches, and one training step takes K optimizer steps over them, so the
    loop's own cost is paid once per block; optimization is therefore manual in Lightning's sense.

    The noise of a block is a function of (seed, rank, samples) alone, and that of validation and test is fixed: a
    resumed run draws what the uninterrupted one would have drawn, and evaluation does not disturb training.

    Args:
        vae: The model.
        objective: What is optimized.
        optimizer: Called with the parameters; returns the optimizer.
        seed: Of the noise.
        max_samples: Training ends when this many training samples have been evaluated; None: never by this count.
        schedule: Called with the number of the epoch, from 0; returns the factor of the step size.
        steps: How optimizer steps are executed, see `aevb.training.steps`: `eager`; `recorded`, faster with the same
            results to the last bit; `compiled`, faster still after half a minute of compilation, with results that
            differ by rounding; or `auto`, recorded. What is not possible falls back, and the log says why.

    Attributes:
        samples_seen: Training samples evaluated so far, over all ranks: the x-axis of every curve, as in the paper.
        validated_samples: What `samples_seen` was at the end of the last validation; None: there was none.

    Raises:
        ValueError: max_samples is not a positive whole number.
    """

    def __init__(
        self,
        vae: VAE,
        objective: Objective,
        optimizer: Callable[..., Optimizer],
        seed: int = 0,
        max_samples: int | None = None,
        schedule: Callable[[int], float] | None = None,
        steps: str = "auto",
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.vae = vae
        self.objective = objective
        objective.connect(vae.p, vae.q)
        self.make_optimizer = optimizer
        self.schedule = schedule
        self.seed = seed
        self.max_samples = None if max_samples is None else whole_number(max_samples, "max_samples")
        self.steps = check_steps(steps)
        self.runner: StepRunner | None = None
        self.samples_seen = 0
        self.validated_samples: int | None = None
        self.end: End | None = None
        self.totals: dict[str, Tensor] = {}

    # Training

    def configure_optimizers(self) -> Optimizer:
        if not runs_on(self.make_optimizer, self.device):
            log.info("the optimizer has no fused form on %s; it runs unfused", self.device)
            return self.make_optimizer(self.parameters(), fused=False)
        return self.make_optimizer(self.parameters())

    @property
    def done(self) -> bool:
        """Whether `max_samples` has been reached."""
        return self.max_samples is not None and self.samples_seen >= self.max_samples

    def on_train_start(self) -> None:
        self.adapt_likelihood()
        self.trainer.should_stop = self.done
        self.runner = make_runner(self.steps, TrainingStep(self, self.vae.p, self.vae.q, self.objective))

    def adapt_likelihood(self) -> None:
        """Let the likelihood settle what the range of the training data, of all ranks, decides."""
        head = self.vae.p.head
        if getattr(head, "bounded", False) is not False:
            mine = torch.tensor(range_of_loader(self.trainer.train_dataloader), device=self.device)
            everyone = self.all_gather(mine)
            assert isinstance(everyone, Tensor)
            lowest, highest = everyone.view(-1, 2).unbind(1)
            head.adapt_to(float(lowest.min()), float(highest.max()))

    def on_train_end(self) -> None:
        self.runner = None

    def on_train_epoch_start(self) -> None:
        if self.schedule is not None:
            optimizer = self.optimizers()
            assert isinstance(optimizer, LightningOptimizer)
            for group in optimizer.param_groups:
                group["lr"] = optimizer.defaults["lr"] * self.schedule(self.current_epoch)

    def on_train_batch_start(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        if self.end is not None and len(self.end.noise) == self.trainer.world_size:
            restore_noise(self.end.noise[self.global_rank], self.device)
        else:
            seed_noise(self.seed, self.global_rank, self.samples_seen)
        self.end = None

    def training_step(self, block: tuple[Tensor, ...], batch_idx: int) -> dict[str, Tensor]:
        """Take an optimizer step, or as many as the objective wants, for each minibatch of the block.

        Shapes: block[0] (K, B, *data_shape).

        Returns:
            The metrics of each minibatch at its last step, (K,) each, in nats per datapoint.

        Raises:
            NonFiniteLossError: a loss is NaN or infinite.
        """
        x = self.truncate(block[0])
        assert self.runner is not None
        metrics = self.runner.run(x, self.samples_seen, x.shape[1] * self.trainer.world_size)
        metrics = self.mean_over_ranks(metrics)
        self.require_finite(metrics["loss"], x.shape[1])
        self.samples_seen += x.shape[0] * x.shape[1] * self.trainer.world_size
        self.trainer.should_stop = self.done
        if self.done:
            self.end = end_of_training(self.trainer, unused=len(block[0]) - len(x))
        return metrics

    def mean_over_ranks(self, metrics: dict[str, Tensor]) -> dict[str, Tensor]:
        """The means over all processes of metrics of equal shapes, (K,) each, of equally many datapoints."""
        if self.trainer.world_size == 1:
            return metrics
        means = self.trainer.strategy.reduce(torch.stack(list(metrics.values())), reduce_op="mean")
        assert isinstance(means, Tensor)
        return dict(zip(metrics, means, strict=True))

    def truncate(self, x: Tensor) -> Tensor:
        """The first minibatches of the block, as many as `max_samples` leaves room for."""
        if self.max_samples is None:
            return x
        per_step = x.shape[1] * self.trainer.world_size
        return x[: -((self.samples_seen - self.max_samples) // per_step)]

    def require_finite(self, losses: Tensor, batch_size: int) -> None:
        """Raise `NonFiniteLossError`, naming the first step of the block whose loss is not finite."""
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            step = int(bad[0])
            at = self.samples_seen + step * batch_size * self.trainer.world_size
            raise NonFiniteLossError(
                f"the loss became {float(losses[step])} at {at:,} samples; lower optimizer.lr, or check the data and "
                "the likelihood's settings"
            )

    # Validation and test

    def on_validation_start(self) -> None:
        seed_noise(self.seed, self.global_rank, "validation")

    def on_validation_end(self) -> None:
        self.validated_samples = self.samples_seen

    def on_test_start(self) -> None:
        seed_noise(self.seed, self.global_rank, "test")

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        self.add_evaluation(batch[0])

    def test_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        self.add_evaluation(batch[0])

    def on_validation_epoch_start(self) -> None:
        self.totals = {}

    def on_test_epoch_start(self) -> None:
        self.totals = {}

    def on_validation_epoch_end(self) -> None:
        self.log_means("val")

    def on_test_epoch_end(self) -> None:
        self.log_means("test")

    def add_evaluation(self, x: Tensor) -> None:
        """Add a batch to the sums over datapoints; with bits per dimension where x is discrete."""
        metrics = self.objective.evaluate(self.vae.p, self.vae.q, x).metrics()
        if self.vae.p.head.discrete:
            metrics["bits_per_dim"] = -metrics["elbo"] / (math.log(2) * math.prod(self.vae.p.data_shape))
        for name, value in metrics.items():
            if name != "loss":
                self.totals[name] = self.totals.get(name, 0) + value * len(x)
        self.totals["datapoints"] = self.totals.get("datapoints", 0) + torch.ones_like(metrics["elbo"]) * len(x)

    def log_means(self, stage: str) -> None:
        """Log the means over all datapoints of `stage`, each of which counts once, whichever process had it."""
        sums = self.trainer.strategy.reduce(torch.stack(list(self.totals.values())), reduce_op="sum")
        assert isinstance(sums, Tensor)
        *totals, datapoints = sums
        means = {f"{stage}/{name}": total / datapoints for name, total in zip(self.totals, totals, strict=False)}
        self.log_dict(means, logger=False)

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["samples"], checkpoint["validated_samples"] = self.samples_seen, self.validated_samples
        if self.end is not None:
            checkpoint["loops"]["fit_loop"], checkpoint["noise"] = self.end

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.samples_seen, self.validated_samples = checkpoint["samples"], checkpoint.get("validated_samples")
        self.end = End(checkpoint["loops"]["fit_loop"], checkpoint["noise"]) if "noise" in checkpoint else None


def runs_on(make_optimizer: Callable[..., Optimizer], device: torch.device) -> bool:
    """Whether an optimizer that asks to be fused has the kernels for it on a device; found out by a step."""
    if not getattr(make_optimizer, "keywords", {}).get("fused"):
        return True
    parameter = nn.Parameter(torch.zeros(1, device=device))
    parameter.grad = torch.zeros_like(parameter)
    try:
        make_optimizer([parameter]).step()
    except (NotImplementedError, RuntimeError):
        return False
    return True


def seed_noise(*key: int | str) -> None:
    """Seed torch's generators, on all devices, by a hash of the key."""
    seed = int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=4).digest())
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:  # torch's function would note a stack trace for each kind of device that is not there, a millisecond
        torch.default_generator.manual_seed(seed)
