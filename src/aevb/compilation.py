"""A training step whose loss and gradients are compiled as a whole, by torch.compile."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from aevb.recording import NotRecordableError, first_words, trace

Gradients = Sequence[Tensor | None]


class Compilation:
    """Forward and backward pass as one compiled program, and then the optimizer's own update.

    The operations are traced as for a `Recording`, and Inductor joins the elementwise ones into few passes over memory.
    It may add in another order, so that results differ from the eager step's by rounding; the noise is the same.

    Args:
        gradients: Takes a minibatch; returns metrics, and the gradient of each parameter.
        x: A minibatch; others must be of its shape and type.
        state: All tensors that `gradients` reads, and those that it writes in place.
        update: Takes the gradients, and moves the parameters.

    Raises:
        NotRecordableError: the step cannot be traced, or there is no compiler.
    """

    fixed_rates = False

    def __init__(
        self,
        gradients: Callable[[Tensor], tuple[dict[str, Tensor], Gradients]],
        x: Tensor,
        state: list[Tensor],
        update: Callable[[Gradients], None],
    ) -> None:
        self.state, self.update = state, update
        graph = trace(gradients, x, state, 0)
        try:
            self.run = torch.compile(graph, dynamic=False, options={"fallback_random": True})
            with torch.no_grad():
                self.run(x, *state)
        except Exception as error:  # a compiler may be missing, or may not know an operation
            raise NotRecordableError(first_words(error)) from error

    def __call__(self, x: Tensor, rates: list[float]) -> dict[str, Tensor]:
        """Take a step on a minibatch; returns its metrics. The optimizer knows its step sizes."""
        metrics: dict[str, Tensor]
        with torch.no_grad():
            metrics, gradients = self.run(x, *self.state)
        self.update(gradients)
        return metrics
