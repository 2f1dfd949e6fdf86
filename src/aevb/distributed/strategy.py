"""Data parallelism for a model that takes many optimizer steps in one training step."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.distributed import _distributed_is_initialized
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.distributed import all_reduce, broadcast, get_world_size

from aevb.distributed.world import by_srun, by_torchrun, size


class DataParallel(DDPStrategy):
    """Keeps the weights of all processes the same: equal at the start, and with the mean of their gradients.

    Lightning's `DDPStrategy` without PyTorch's wrapper. The wrapper expects one backward pass for each call of the
    model's `forward`; a training step of `AEVB` has as many as its block has minibatches, and more with objectives that
    work longer on one, and calls the two models itself. Here each backward pass ends with one reduction of all
    gradients, whatever was called before.
    """

    def configure_ddp(self) -> None:
        assert self.model is not None
        for tensor in [*self.model.parameters(), *self.model.buffers()]:
            broadcast(tensor.data, src=0)

    def post_backward(self, closure_loss: Tensor) -> None:
        assert self.model is not None
        average_gradients([parameter for parameter in self.model.parameters() if parameter.requires_grad])


class Communication:
    """Whether this process takes part in reductions now."""

    on = True


@contextmanager
def without_communication() -> Iterator[None]:
    """Leave reductions out, for a step that is only traced, and that other processes might not take."""
    Communication.on = False
    try:
        yield
    finally:
        Communication.on = True


@torch.library.custom_op("aevb::sum_over_processes", mutates_args=("values",))
def sum_over_processes(values: Tensor) -> None:
    """Replace values by their sums over all processes; an operation of torch's, so that a recorded step has it too."""
    if Communication.on:
        all_reduce(values)


@torch.no_grad()
def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Give each parameter the mean of its gradients over all processes.

    Where a process has none it counts as zero. A parameter that has none in any process keeps none: for an optimizer
    with momentum that is not the same as zero.
    """
    if not _distributed_is_initialized():
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
    """Arguments of a trainer that tell it which other processes it trains with; with further plugins."""
    options: dict[str, Any] = {"plugins": [*plugins, environment()]}
    return options | ({"strategy": DataParallel()} if size() > 1 else {})


class Srun(SLURMEnvironment):
    """Lightning's environment for SLURM, without its demand for `--ntasks-per-node`: any number of tasks will do."""

    @staticmethod
    def _validate_srun_variables() -> None:
        """Nothing is demanded."""

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        if num_devices * num_nodes != self.world_size():
            raise ValueError(
                f"trainer.devices times trainer.num_nodes must be {self.world_size()}, the number of tasks that srun "
                f"has started, got {num_devices} and {num_nodes}"
            )


def environment() -> ClusterEnvironment:
    """Lightning's environment for this process; its own guess takes a single process inside SLURM for one of many."""
    if by_torchrun(os.environ):
        return TorchElasticEnvironment()
    if by_srun(os.environ):
        return Srun(auto_requeue=False)
    return LightningEnvironment()
