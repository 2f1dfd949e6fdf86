"""Data parallelism for a model that takes many optimizer steps in one training step."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.distributed import broadcast, get_world_size, is_available, is_initialized

from aevb.collectives import sum_over_processes
from aevb.distributed.world import by_srun, by_torchrun, size


class DataParallel(DDPStrategy):
    """Lightning's `DDPStrategy` without PyTorch's wrapper; weights are broadcast at the start, gradients averaged.

    The wrapper expects one backward pass for each call of `forward`. A training step of `AEVB` has at least one for
    each minibatch of its block, and does not call `forward`. Here each backward pass ends with one reduction of all
    gradients.

    Attributes:
        averaged: The parameters that have gradients; None: all of the model.
    """

    averaged: Sequence[nn.Parameter] | None = None

    def configure_ddp(self) -> None:
        assert self.model is not None
        for tensor in [*self.model.parameters(), *self.model.buffers()]:
            broadcast(tensor.data, src=0)

    def post_backward(self, closure_loss: Tensor) -> None:
        assert self.model is not None
        parameters = self.model.parameters() if self.averaged is None else self.averaged
        average_gradients([parameter for parameter in parameters if parameter.requires_grad])


@torch.no_grad()
def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Set the gradient of each parameter to its mean over all processes.

    A missing gradient counts as zero. A parameter without a gradient in all processes keeps none: for an optimizer with
    momentum that differs from zero.
    """
    if not (is_available() and is_initialized()):
        return
    has_none = [parameter.grad is None for parameter in parameters]
    gradients = [torch.zeros_like(parameter) if parameter.grad is None else parameter.grad for parameter in parameters]
    found = gradients[0].new_tensor([float(not none) for none in has_none])
    flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), found])
    sum_over_processes(flat)
    flat.div_(get_world_size())
    *means, found = flat.split([*(gradient.numel() for gradient in gradients), len(found)])
    for number, (parameter, mean) in enumerate(zip(parameters, means, strict=True)):
        if not has_none[number] or found[number] > 0:
            parameter.grad = mean.view_as(parameter).to(parameter.dtype)


def trainer_options(*plugins: Any) -> dict[str, Any]:
    """Arguments of a trainer for the processes of the run, with further plugins."""
    options: dict[str, Any] = {"plugins": [*plugins, environment()]}
    return options | ({"strategy": DataParallel()} if size() > 1 else {})


class Srun(SLURMEnvironment):
    """Lightning's environment for SLURM, which does not require `--ntasks-per-node`."""

    @staticmethod
    def _validate_srun_variables() -> None:
        """Accept any variables."""

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        if num_devices * num_nodes != self.world_size():
            raise ValueError(
                f"trainer.devices times trainer.num_nodes must be {self.world_size()}, the number of tasks that srun "
                f"has started, got {num_devices} and {num_nodes}"
            )


def environment() -> ClusterEnvironment:
    """Lightning's environment for this process; its detection takes a single process in SLURM for one of several."""
    if by_torchrun(os.environ):
        return TorchElasticEnvironment()
    if by_srun(os.environ):
        return Srun(auto_requeue=False)
    return LightningEnvironment()
