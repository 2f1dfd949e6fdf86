"""Training steps by Lightning's hooks."""

from torch import Tensor

from aevb.training.steps.runner import Metrics, StepRunner


class Eager(StepRunner):
    """Executes the step anew for each minibatch: always possible, and the reference for all other runners."""

    name = "eager"

    def take(self, x: Tensor) -> Metrics:
        return self.step.eager(x)
