"""A training step as Lightning takes it."""

from torch import Tensor

from aevb.training.steps.runner import Metrics, StepRunner


class Eager(StepRunner):
    """Calls the step anew for each minibatch: always possible, and the measure of all other ways."""

    name = "eager"

    def take(self, x: Tensor) -> Metrics:
        return self.step.eager(x)
