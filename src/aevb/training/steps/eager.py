"""Training steps by Lightning's hooks."""

from aevb.training.steps.runner import Inputs, Metrics, StepRunner


class Eager(StepRunner):
    """Executes the step anew for each minibatch: always possible, and the reference for all other runners."""

    name = "eager"

    def take(self, inputs: Inputs) -> Metrics:
        return self.step.eager(inputs)
