"""The number of processes of a run on this machine: one for each device of its trainer."""

from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.accelerators import AcceleratorRegistry

from aevb.errors import ConfigError


def num_processes(trainer: DictConfig) -> int:
    """The number of processes for the settings of a trainer; 1 for settings that the trainer refuses itself."""
    if trainer.num_nodes > 1:
        raise ConfigError(
            f"trainer.num_nodes must be 1 unless torchrun or srun starts the processes, got {trainer.num_nodes}"
        )
    devices = OmegaConf.to_object(trainer.devices) if OmegaConf.is_config(trainer.devices) else trainer.devices
    try:
        accelerator = AcceleratorRegistry[accelerator_name(trainer.accelerator)]["accelerator"]
        found = accelerator.auto_device_count() if devices == "auto" else accelerator.parse_devices(devices)
    except (KeyError, TypeError, ValueError, MisconfigurationException):
        return 1
    return found if isinstance(found, int) else len(found or [None])


def accelerator_name(accelerator: str) -> str:
    """The accelerator that `auto` and `gpu` select on this machine."""
    if accelerator not in ("auto", "gpu"):
        return accelerator
    gpus = (name for name in ("cuda", "mps") if AcceleratorRegistry[name]["accelerator"].is_available())
    return next(gpus, "cpu")
