"""How the optimizer steps of training are executed: eager, recorded, captured or compiled, behind one interface.

A `StepRunner` executes a `TrainingStep`; `make_runner` chooses it. To add one:

1. Subclass `StepRunner`, or `Verified` if a program made from the step replaces the eager step. A runner may override
   `run`, which takes a whole block, in place of `take`, which takes one minibatch.
2. Return it from `make_runner` for a value of the setting `steps`, with its fallback.

Results must be bitwise those of `Eager`, unless the setting's documentation says otherwise.
"""

import logging
from typing import Literal

from aevb.training.steps.capture import Captured, CapturedProgram, CudaGraphs
from aevb.training.steps.compiled import Compiled
from aevb.training.steps.eager import Eager
from aevb.training.steps.recorded import Recorded
from aevb.training.steps.runner import Inputs, StepRunner, TrainingStep, clip_gradients
from aevb.training.steps.verified import obstacle

__all__ = ["Inputs", "StepRunner", "Steps", "TrainingStep", "clip_gradients", "make_runner"]

log = logging.getLogger("aevb")

Steps = Literal["auto", "eager", "recorded", "compiled"]


def make_runner(steps: Steps, step: TrainingStep) -> StepRunner:
    """The runner for the setting `steps`; the reason for a fallback is logged once.

    `auto` captures blocks in CUDA graphs on a GPU, and records steps on a CPU.
    """
    eager = Eager(step)
    if steps == "eager":
        return eager
    reason = obstacle(step)
    if reason is not None:
        log.log(step.log_level, "training steps are eager: %s", reason)
        return eager
    if step.module.device.type == "cuda" and step.trainer.world_size == 1 and steps != "recorded":
        graphs = CudaGraphs(step.module.device)
        captured = Captured(step, eager, graphs)
        return CapturedProgram(step, captured, graphs) if steps == "compiled" else captured
    recorded = Recorded(step, fallback=eager)
    return Compiled(step, fallback=recorded) if steps == "compiled" else recorded
