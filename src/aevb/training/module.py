"""`AEVB`: algorithm 1 of the paper as a `LightningModule`."""

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from aevb.data.loader import range_of_loader
from aevb.errors import ConfigError
from aevb.objectives import Estimate, Objective
from aevb.training.averaging import AveragedWeights, averaging
from aevb.training.batches import CheckedBatches
from aevb.training.clock import Clock
from aevb.training.extension import End, end_of_training
from aevb.training.hparams import hparams_of
from aevb.training.noise import Noise, current_noise, restore_noise, seed_noise
from aevb.training.optimizers import fitting_form
from aevb.training.readings import Readings, require_finite
from aevb.training.schedules import span_run, with_length
from aevb.training.steps import Inputs, StepRunner, Steps, TrainingStep, clip_gradients, make_runner
from aevb.types import Checked, Count, Fraction, Seed
from aevb.vae import VAE

log = logging.getLogger("aevb")


class AEVB(Checked, CheckedBatches):
    """Trains θ and φ of a `VAE` jointly.

    A batch of Lightning's may be a block of K minibatches (K, B, *data_shape), as those of `aevb.data` are. A training
    step then takes K optimizer steps, so the loop's own cost is paid once per block; optimization is therefore manual
    in Lightning's sense. A batch (B, *data_shape) of any other loader is a block of one. Batches are x, (x, y) or
    (x, y, c): labels y are ignored, conditions c are for models that take them. They are converted and checked as
    `VAE` does it.

    Loggers are given the metrics by Lightning's `self.log`; where a `Metrics` callback is there, it alone does it, at
    the number of training samples. `hparams` names the parts and their sizes.

    The noise of a block is a function of (seed, rank, samples) alone, and that of validation and test is fixed: a
    resumed run draws what the uninterrupted one would have drawn, and evaluation does not disturb training.

    Args:
        vae: The model.
        objective: What is optimized.
        optimizer: Called with the parameters; returns the optimizer.
        seed: Of the noise.
        max_samples: Training ends when this many training samples have been evaluated; None: never by this count.
        schedule: Called with the optimizer; returns a scheduler of its learning rate, torch's or one like it, which is
            stepped at the start of every epoch but the first. A number of epochs that it is not given (`T_max=None`) is
            that of the run. `ReduceLROnPlateau` is given −val/elbo, after each validation.
        steps: How optimizer steps are executed, see `aevb.training.steps`: `eager`; `recorded`, faster with the same
            bits; `compiled`, faster still once they are compiled, with results that differ by rounding; or `auto`:
            recorded, on a GPU captured in CUDA graphs. What is not possible falls back, and the log says why.
        ema_decay: Evaluate an exponential moving average of the weights, θ̄ ← ema_decay · θ̄ + (1 − ema_decay) · θ after
            each optimizer step, in validation, pictures and curves, and after training. None: the weights themselves.

    Attributes:
        samples_seen: Training samples evaluated so far, over all ranks: the x-axis of every curve, as in the paper.
        validated_samples: What `samples_seen` was at the end of the last validation; None: there was none.
    """

    def __init__(
        self,
        vae: VAE,
        objective: Objective,
        optimizer: Callable[..., Optimizer],
        seed: Seed = 0,
        max_samples: Count | None = None,
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        steps: Steps = "auto",
        ema_decay: Fraction | None = None,
    ) -> None:
        super().__init__(vae, objective)
        self.automatic_optimization = False
        self.make_optimizer = optimizer
        self.make_schedule = schedule
        self.seed = seed
        self.max_samples = max_samples
        self.steps = steps
        self.ema_decay = ema_decay
        self.averaged = AveragedWeights(self)
        self.runners: list[StepRunner] = []
        """Of each member, during training."""
        self.samples_seen = 0
        self.validated_samples: int | None = None
        self.end: End | None = None
        self.scheduled_epoch = 0
        """The epoch for which the learning rate is set."""
        self.val_elbo: list[float] | None = None
        """Of each member in a validation that the schedules have not seen."""
        self.clip_val: float | None = None
        self.clock = Clock()
        """Of training without validation."""
        self.readings = Readings()
        """What Python has yet to see of the last block."""
        self.totals: dict[str, Tensor] = {}
        self.member_means: dict[str, Tensor] = {}
        """Metrics of each member in the last validation or test, (R,), where there are several members."""
        self.logs_itself = True
        """Whether the trainer's loggers get metrics and `hparams` from here; a `Metrics` callback clears it."""
        self.save_hyperparameters(hparams_of(vae, objective, optimizer, seed=seed, max_samples=max_samples))

    @property
    def members(self) -> "list[AEVB]":
        """The runs that this module trains: itself alone, unless it is one of `aevb.training.members`."""
        return [self]

    # Training

    def configure_callbacks(self) -> list[pl.Callback]:
        """Check the trainer's settings, before Lightning checks them as for automatic optimization."""
        if (self.trainer.gradient_clip_val or 0) < 0:
            raise ConfigError(f"trainer.gradient_clip_val must be at least 0, got {self.trainer.gradient_clip_val}")
        if self.trainer.accumulate_grad_batches != 1:
            raise ConfigError(
                "trainer.accumulate_grad_batches must be 1: every minibatch is an optimizer step; choose a larger "
                f"data.batch_size instead; got {self.trainer.accumulate_grad_batches}"
            )
        self.clip_val, self.trainer.gradient_clip_val = self.trainer.gradient_clip_val, None
        return []

    def setup(self, stage: str) -> None:
        # Under bf16-true Lightning would round the data to 8 bits before they are scored.
        self.trainer.precision_plugin.convert_input = lambda data: data  # type: ignore[method-assign]
        self.trainer.gradient_clip_val = self.clip_val
        self._log_hyperparams = self.logs_itself
        if stage == "fit":
            self.scheduled_epoch, self.val_elbo = 0, None

    def configure_optimizers(self) -> Any:
        optimizers = self.configured_optimizers()
        if self.ema_decay is not None:
            for optimizer in optimizers:
                optimizer.register_step_post_hook(averaging(self.ema_decay))
            self.averaged.optimizers = optimizers
        if self.make_schedule is None:
            return optimizers if len(optimizers) > 1 else optimizers[0]
        make_schedule = with_length(self.make_schedule, epochs=1)  # until `span_run` knows it
        try:
            return optimizers, [make_schedule(optimizer) for optimizer in optimizers]
        except (TypeError, ValueError) as error:
            message = str(error)
            raise ConfigError(message if message.startswith("schedule.") else f"schedule: {message}") from error

    def configured_optimizers(self) -> list[Optimizer]:
        """The optimizer."""
        return [self.fitting_form(self.make_optimizer)(self.trained())]

    def trained(self) -> list[nn.Parameter]:
        """All parameters that the optimizer changes."""
        return [*self.vae.parameters(), *self.objective.parameters()]

    def fitting_form(self, make_optimizer: Callable[..., Optimizer]) -> Callable[..., Optimizer]:
        """The optimizer to make, unfused where it cannot be fused."""
        scales_gradients = self.clip_val and getattr(self.trainer.precision_plugin, "scaler", None)
        return fitting_form(make_optimizer, self.device, bool(scales_gradients))

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        clip_gradients(self.trainer, optimizer)

    @property
    def done(self) -> bool:
        """Whether `max_samples` has been reached."""
        return self.max_samples is not None and self.samples_seen >= self.max_samples

    def on_train_start(self) -> None:
        self.averaged.take_out()
        self.count_data(self.trainer.train_dataloader)
        self.check_loader(self.trainer.train_dataloader)
        self.adapt_to_data()
        span_run(self.trainer, self.make_schedule, self.max_samples, self.scheduled_epoch)
        self.trainer.should_stop = self.done
        steps = [TrainingStep(self, m.vae.p, m.vae.q, m.objective, number) for number, m in enumerate(self.members)]
        self.runners = [make_runner(self.steps, step) for step in steps]
        self.readings = Readings()
        self.clock.start()

    def adapt_to_data(self) -> None:
        """Let the model adapt to the range of the training data of all ranks."""
        if self.vae.p.range_parts:
            mine = torch.tensor(range_of_loader(self.trainer.train_dataloader), device=self.device)
            everyone = self.all_gather(mine)
            assert isinstance(everyone, Tensor)
            lowest, highest = everyone.view(-1, 2).unbind(1)
            for member in self.members:
                member.vae.p.adapt_to(float(lowest.min()), float(highest.max()))

    def on_train_end(self) -> None:
        self.readings.settle()
        self.averaged.put_in()
        self.runners = []
        self.clock.stop()

    def on_train_epoch_start(self) -> None:
        schedulers: Any = self.lr_schedulers()
        if schedulers is None or self.scheduled_epoch == self.current_epoch:
            return
        self.scheduled_epoch = self.current_epoch
        for member, scheduler in enumerate(schedulers if isinstance(schedulers, list) else [schedulers]):
            if not isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step()
            elif self.val_elbo is not None:
                scheduler.step(-self.val_elbo[member])
        self.val_elbo = None

    def on_train_batch_start(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        if self.end is not None and len(self.end.noise) == self.trainer.world_size:
            self.restore_noise(self.end.noise[self.global_rank])
        else:
            self.seed_noise(self.samples_seen)
        self.end = None

    def seed_noise(self, key: int | str) -> None:
        """Let the noise from here on be that of (seed, rank, key)."""
        seed_noise(self.seed, self.global_rank, key)

    def restore_noise(self, noise: Noise) -> None:
        """Let the noise from here on be that which followed `current_noise`."""
        restore_noise(noise, self.device)

    def current_noise(self) -> Noise:
        """The states of the generators."""
        return current_noise(self.device)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Take an optimizer step, or as many as the objective needs, for each minibatch of a batch.

        Returns:
            The metrics of each minibatch at its last step, (K,) each, in nats per datapoint.
        """
        block = self.blocks_from(batch, self.trainer.train_dataloader)
        inputs = self.truncate(block)
        batch_size = inputs[0].shape[1] * self.trainer.world_size
        metrics = self.runners[0].run(inputs, self.samples_seen, batch_size)
        return self.end_block(metrics, batch_size, unused=len(block[0]) - len(inputs[0]))

    def end_block(self, metrics: dict[str, Tensor], batch_size: int, unused: int) -> dict[str, Tensor]:
        """Count the samples of a block, and check the losses of the block before, which are known without a wait.

        Args:
            metrics: Of each minibatch taken, (K,), or (K, R) of each member.
            batch_size: Training samples of a minibatch, over all ranks.
            unused: Minibatches of the block that were not taken.

        Returns:
            Their means over all ranks.
        """
        metrics = self.mean_over_ranks(metrics)
        self.readings.settle()
        self.readings.add(metrics["loss"], partial(require_finite, samples=self.samples_seen, batch_size=batch_size))
        self.samples_seen += len(metrics["loss"]) * batch_size
        if self.logs_itself:
            self.log_dict({f"train/{name}": values[-1].mean() for name, values in metrics.items()})
        self.trainer.should_stop = self.done
        if self.done:
            self.readings.settle()
            self.end = end_of_training(self.trainer, unused, self.current_noise())
        return metrics

    def mean_over_ranks(self, metrics: dict[str, Tensor]) -> dict[str, Tensor]:
        """The means of metrics, (K,) each, over all ranks."""
        if self.trainer.world_size == 1:
            return metrics
        means = self.trainer.strategy.reduce(torch.stack(list(metrics.values())), reduce_op="mean")
        assert isinstance(means, Tensor)
        return dict(zip(metrics, means, strict=True))

    def truncate(self, block: Inputs) -> Inputs:
        """The first minibatches of the block, as many as `max_samples` leaves room for."""
        if self.max_samples is None:
            return block
        per_step = block[0].shape[1] * self.trainer.world_size
        return tuple(part[: -((self.samples_seen - self.max_samples) // per_step)] for part in block)

    # Validation and test

    def on_validation_start(self) -> None:
        self.readings.settle()
        self.clock.stop()
        if self.trainer.sanity_checking and self.counts_data:
            self.objective.num_data = 1  # not known yet; the results are discarded
        if self.trainer.state.fn == TrainerFn.FITTING:
            self.averaged.put_in()
        self.totals = {}
        self.check_loader(self.trainer.val_dataloaders)
        self.seed_noise("validation")

    def on_validation_end(self) -> None:
        if self.trainer.sanity_checking and self.counts_data:
            self.objective.num_data = None
        self.validated_samples = self.samples_seen
        if self.trainer.state.fn == TrainerFn.FITTING:
            self.averaged.take_out()
            self.clock.start()
        if self.end is None and not self.trainer.sanity_checking:  # an extended run has no validation where it ended
            of_members = self.member_means.get("val/elbo", self.trainer.callback_metrics["val/elbo"])
            self.val_elbo = of_members.reshape(-1).tolist()

    def on_test_start(self) -> None:
        self.totals = {}
        self.check_loader(self.trainer.test_dataloaders)
        self.seed_noise("test")

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.add_evaluation(*self.blocks_from(batch, self.trainer.val_dataloaders))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.add_evaluation(*self.blocks_from(batch, self.trainer.test_dataloaders))

    def on_validation_epoch_end(self) -> None:
        self.log_means("val")

    def on_test_epoch_end(self) -> None:
        self.log_means("test")

    def add_evaluation(self, *block: Tensor) -> None:
        """Add a block to the sums over datapoints."""
        x, *c = (part.flatten(0, 1) for part in block)
        metrics = self.evaluation_metrics(x, *c)
        for name, value in metrics.items():
            if name != "loss":
                self.totals[name] = self.totals.get(name, 0) + value * len(x)
        one = torch.ones_like(metrics["elbo"])
        self.totals["values"] = self.totals.get("values", 0) + one * self.vae.p.head.num_values(len(x), *c)
        self.totals["datapoints"] = self.totals.get("datapoints", 0) + one * len(x)

    def evaluation_metrics(self, *inputs: Tensor) -> dict[str, Tensor]:
        """The metrics of datapoints x (B, *data_shape) and maybe their conditions, () each, or (R,) of each member."""
        return evaluation(self, *inputs).metrics()

    def log_means(self, stage: str) -> None:
        """Log the means over all datapoints of all ranks, and the bound per value or step where it has a meaning."""
        sums = self.trainer.strategy.reduce(torch.stack(list(self.totals.values())), reduce_op="sum")
        assert isinstance(sums, Tensor)
        *totals, values, datapoints = sums
        means = {f"{stage}/{name}": total / datapoints for name, total in zip(self.totals, totals, strict=False)}
        head, total = self.vae.p.head, means[f"{stage}/elbo"] * datapoints
        if head.discrete:
            means[f"{stage}/bits_per_dim"] = -total / (math.log(2) * values)
        if head.values_per_step is not None:
            means[f"{stage}/elbo_per_step"] = total * head.values_per_step / values
        self.log_evaluation(means)

    def log_evaluation(self, means: dict[str, Tensor]) -> None:
        """Log the metrics of validation or test."""
        # None, not True: then they are returned by `trainer.test` without a warning that there is no logger.
        self.log_dict(means, logger=None if self.logs_itself else False)

    # Checkpoints

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """As Lightning's, with the arguments of the constructor: a checkpoint holds weights, and not how they are used.

        Raises:
            ConfigError: vae, objective or optimizer is missing; the message says how a trained model is loaded.
        """
        if not {"vae", "objective", "optimizer"} <= kwargs.keys():
            raise ConfigError(
                "a checkpoint holds the weights alone: load the model of a run folder by aevb.load_run(<run folder>), "
                "or give load_from_checkpoint vae=, objective= and optimizer= as for AEVB(…)"
            )
        return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.readings.settle()
        self.averaged.save(checkpoint)
        checkpoint["samples"], checkpoint["validated_samples"] = self.samples_seen, self.validated_samples
        checkpoint["schedule"] = {"epoch": self.scheduled_epoch, "val_elbo": self.val_elbo}
        if self.end is not None:
            checkpoint["loops"]["fit_loop"], checkpoint["noise"] = self.end

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING:
            self.averaged.restore(checkpoint)
        self.samples_seen, self.validated_samples = checkpoint["samples"], checkpoint.get("validated_samples")
        schedule = checkpoint["schedule"]
        self.scheduled_epoch, self.val_elbo = schedule["epoch"], schedule["val_elbo"]
        self.end = End(checkpoint["loops"]["fit_loop"], checkpoint["noise"]) if "noise" in checkpoint else None


def evaluation(module: AEVB, x: Tensor, c: Tensor | None = None) -> Estimate:
    """The objective's estimate for validation and test: x (B, *data_shape), c (B, *condition_shape)."""
    return module.objective.evaluate(module.vae.p.given(c), module.vae.q.given(c), x)
