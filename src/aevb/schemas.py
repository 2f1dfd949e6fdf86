"""The keys of each program and their types, and the types of other libraries' arguments where those are too wide."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Interval
from pydantic import StringConstraints

from aevb.types import Count, CountOrZero, Fraction, NonNegative, Positive, Seed, Sizes


@dataclass(frozen=True)
class Part:
    """A node with a `_target_`, validated by the signature of its class; optionally null or absent."""

    or_null: bool = False
    or_absent: bool = False


@dataclass(frozen=True)
class Parts:
    """A mapping of names to parts or null; optionally absent."""

    or_absent: bool = False


class Refused(str):
    """An argument that users must not set; the text gives the reason."""


Text = Annotated[str, "a text"]
Texts = list[str] | str
Below1 = Annotated[float, Interval(ge=0, lt=1)]
Names = Annotated[list[str], "a list of names, such as [mymodule]"]

SCHEMAS: dict[str, dict[str, Any]] = {
    "train": {
        "seed": Seed,
        "seeds": Count | None,
        "hidden": Sizes,
        "max_samples": Count | None,
        "ema_decay": Fraction | None,
        "steps": Literal["auto", "eager", "recorded", "compiled"],
        "matmul_precision": Literal["auto", "highest", "high", "medium"],
        "resume": Text | None,
        "metric": Text,
        "learning_rate_search": {"candidates": list[Positive], "samples": Count},
        "allow": Names,
        "sweep": {"name": str | int | float | None, "retry_failed": bool, "first_trials": list[dict[str, Any]]},
        "paths": {"data": Text, "run": Text},
        "data": Part(),
        "model": Part(),
        "objective": Part(),
        "optimizer": Part(),
        "schedule": Part(or_null=True),
        "callbacks": Parts(),
        "logger": Parts(),
        "trainer": Part(),
    },
    "evaluate": {
        "run": Text,
        "split": Literal["train", "val", "test"],
        "limit": Count | None,
        "checkpoint": Literal["best", "last"],
        "member": CountOrZero | None,
        "device": Literal["auto", "cpu", "cuda"],
        "max_batch_values": Count | None,
        "seed": Seed,
        "allow": Names,
        "paths": {"data": Text | None},
        "data": {"path": Text | None},
        "estimators": Parts(or_absent=True),
        "mask": Part(),
        "task": Part(or_null=True, or_absent=True),
    },
    "report": {
        "runs": Texts,
        "output": Text,
        "title": Text,
        "parts": list[Literal["table", "learning_curves", "figure2", "figure3", "figure4", "figure5", "gaps"]],
        "metrics": Texts,
        "allow": Names,
    },
    "export": {
        "run": Text,
        "output": Text,
        "checkpoint": Literal["best", "last"],
        "member": CountOrZero,
        "formats": list[Literal["torch_export", "onnx"]],
        "hub": Text | None,
        "seed": Seed,
        "allow": Names,
    },
}
"""The keys of each program. A dict is a section, all of whose keys are required."""

REQUIRED = {"run": "run=<run folder>, or the folder of a sweep", "runs": "runs=<run folder, folder of runs, or glob>"}
"""Keys without a default, and how to set them."""

LACKING = {
    "model.condition_shape": "a model that takes a condition, such as model=conditional",
    "model.latent_dims": "a model of several layers, such as model=ladder",
    "model.step_dim": "a model of sequences, such as model=deep_markov",
    "data.bars": "data of a number of bars, data=melodies",
}
"""Settings of some models and data sets that parts refer to, and what those parts need."""

RENAMED = {
    "record_steps": "steps=recorded or steps=eager",
    "compile_steps": "steps=compiled",
    "step_size_search": "learning_rate_search",
}
"""Former keys, and what replaces them."""

TRAINER_ARGUMENTS = (
    "callbacks", "default_root_dir", "enable_checkpointing", "enable_model_summary", "enable_progress_bar", "logger",
    "num_sanity_val_steps", "plugins", "strategy", "use_distributed_sampler",
)  # fmt: skip
"""Arguments of the trainer that train.py sets."""
Batches = Annotated[int, Interval(ge=1)] | Annotated[float, Interval(gt=0, le=1)] | None
Epochs = Count | Literal[-1] | None
Duration = Annotated[
    str, StringConstraints(pattern=r"^\d+:\d\d:\d\d:\d\d$"), "a text such as 00:01:30:00 (days:hours:minutes:seconds)"
]

NARROWED: dict[str, dict[str, Any]] = {
    "aevb.data.array.Array": {"path": Text, "y": Refused("is for arrays in Python; a .npz file has its own")},
    "pytorch_lightning.trainer.trainer.Trainer": {
        "accelerator": Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"],
        "devices": Count | Literal["auto", -1] | list[CountOrZero],
        "num_nodes": Count,
        "precision": Literal["32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true"],
        "max_epochs": Epochs,
        "min_epochs": Count | None,
        "max_steps": Count | Literal[-1],
        "min_steps": Count | None,
        "max_time": Duration | None,
        "check_val_every_n_epoch": Count,
        "limit_train_batches": Batches,
        "limit_val_batches": Batches,
        "limit_test_batches": Batches,
        "limit_predict_batches": Batches,
        "fast_dev_run": Annotated[Literal[False], "false (max_samples=1000 is a short run)"],
        "overfit_batches": Annotated[Literal[0], "0 (data.train_size=100 trains on few datapoints)"],
        "accumulate_grad_batches": Annotated[Literal[1], "1 (data.batch_size sets the size of a minibatch)"],
        "gradient_clip_val": Positive | None,
        "gradient_clip_algorithm": Literal["norm", "value"] | None,
        "barebones": Annotated[Literal[False], "false, as a run folder needs what it leaves out"],
        "reload_dataloaders_every_n_epochs": CountOrZero,
        "log_every_n_steps": CountOrZero | None,
        **dict.fromkeys(TRAINER_ARGUMENTS, Refused("is set by train.py itself")),
    },
    "torch.optim": {
        "alpha": Below1,
        "betas": tuple[Below1, Below1],
        "eps": NonNegative,
        "eta_min": NonNegative,
        "etas": tuple[Fraction, Annotated[float, Interval(gt=1)]],
        "factor": Annotated[float, Interval(gt=0, le=1)],
        "fused": bool | None,
        "initial_accumulator_value": NonNegative,
        "lr": Positive | list[Positive] | None,
        "lr_decay": NonNegative,
        "momentum": NonNegative,
        "rho": Annotated[float, Interval(ge=0, le=1)],
        "weight_decay": NonNegative,
        "T_max": Count | None,
        "total_iters": Count | None,
        "patience": CountOrZero,
        "step_size": Count,
    },
}
"""Types of arguments whose own types, in Python or another library, are too wide, by a prefix of the class's name."""

DATA_PATHS = {
    "aevb.data.anndata.AnnData": "file",
    "aevb.data.array.Array": "file",
    "aevb.data.csv.CSV": "file",
    "aevb.data.folder.Folder": "folder",
    "aevb.data.memory_map.MemoryMapped": "file",
}
"""Data sets with a `path`, by the names of their classes, and what the path is."""
