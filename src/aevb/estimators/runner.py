"""Runs an estimator over many datapoints in chunks, with bounded memory, and continues after an interruption."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aevb.data.module import Split
from aevb.estimators.base import Estimates, Estimator
from aevb.estimators.partial import PartialEstimates
from aevb.networks import condition_shape_of
from aevb.types import Count, check
from aevb.vae import VAE, GenerativeModel

DEFAULT_BATCH_VALUES = {"cpu": 1_000_000, "cuda": 100_000_000}
"""Values in the largest tensor; on a CPU it should fit in the caches."""

SECONDS_BETWEEN_SAVES = 5.0


def run(
    estimator: Estimator,
    vae: VAE,
    data: Split,
    rows: int,
    seed: int = 0,
    partial: PartialEstimates | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> tuple[Estimates, float]:
    """The estimates for all datapoints, and the seconds they took.

    The noise of a chunk depends only on the seed and the chunk, so an interrupted evaluation has the same values as an
    uninterrupted one.

    Args:
        estimator: The estimator.
        vae: The model, on the device of the computation.
        data: Datapoints x (N, *data_shape), float32, and conditions where the model takes them, on the same device.
        rows: Samples of z in memory, see `rows_at_once`.
        seed: Seed of the noise.
        partial: The file of intermediate results.
        on_progress: Called with the number of finished datapoints.
    """
    size = max(1, rows // estimator.rows_per_datapoint)
    before, seconds = (None, 0.0) if partial is None else partial.load()
    parts = [] if before is None else [before]
    start = saved = time.monotonic()

    def save() -> None:
        if partial is not None and parts:
            partial.save(Estimates.join(parts), seconds + time.monotonic() - start)

    try:
        for first in range(sum(len(part.value) for part in parts), len(data.x), size):
            x, _, c = data.take(slice(first, first + size))
            on_progress(first)
            torch.manual_seed(int(np.random.SeedSequence((seed, first)).generate_state(1)[0]))
            found = estimator.estimate(vae.given(c, len(x)), x, rows)
            diagnostics = {name: values.cpu() for name, values in found.diagnostics.items()}
            parts.append(Estimates(found.value.cpu(), found.variance.cpu(), diagnostics))
            if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                save()
                saved = time.monotonic()
    except BaseException:
        save()
        raise
    on_progress(len(data.x))
    return Estimates.join(parts), seconds + time.monotonic() - start


def rows_at_once(p: GenerativeModel, max_batch_values: int | None = None) -> int:
    """The number of samples of z for which no layer's output has more than `max_batch_values` values.

    None: chosen by the device, see `DEFAULT_BATCH_VALUES`.
    """
    if max_batch_values is None:
        device = next(p.parameters()).device.type
        max_batch_values = DEFAULT_BATCH_VALUES.get(device, DEFAULT_BATCH_VALUES["cpu"])
    check(max_batch_values, Count, "max_batch_values")
    return max(1, max_batch_values // values_per_sample(p))


@torch.no_grad()
def values_per_sample(p: GenerativeModel) -> int:
    """Values in the largest output of the generative model's layers, for one sample of z."""
    sizes = [math.prod(p.data_shape)]

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel())

    hooks = [module.register_forward_hook(note) for module in p.modules()]
    shape = condition_shape_of(p)
    try:
        p = p if shape is None else p.given(next(p.parameters()).new_ones(1, *shape))
        p.likelihood(p.sample_prior(1, 1))
    finally:
        for hook in hooks:
            hook.remove()
    return max(sizes)
