"""A training step recorded once as a flat list of tensor operations, and replayed.

A step of a small model spends much of its time in the Python of modules, distributions, autograd and the optimizer. A
`Recording` consists of the tensor operations of forward pass, backward pass and update alone, in their order. It calls
the same kernels on the same values and draws the same noise, so its results are bitwise the same.
"""

from torch import Tensor, fx

from aevb.errors import first_line
from aevb.training.steps.runner import Inputs, Metrics, TrainingStep
from aevb.training.steps.simplification import simplify
from aevb.training.steps.tracing import trace
from aevb.training.steps.verified import NoProgramError, Verified, bitwise_equal, outside_autograd


class Recorded(Verified):
    """Replays a `Recording`, if it agrees with the eager step to the last bit."""

    name = "recorded"

    def make(self, inputs: Inputs) -> "Recording":
        return Recording(self.step, inputs)

    def agree(self, expected: Tensor, found: Tensor, before: Tensor) -> bool:
        return bitwise_equal(expected, found)


class Recording:
    """The operations of a step, simplified.

    Args:
        step: It is executed twice; the caller restores the state afterwards.
        inputs: A minibatch; all others must have its shapes and types.

    Attributes:
        fixed_learning_rates: Whether the recording holds for the present learning rates alone: those of a fused
            optimizer are arguments of one operation, others compute with them.
    """

    def __init__(self, step: TrainingStep, inputs: Inputs) -> None:
        self.state = step.state()
        groups = [{id(parameter) for parameter in group["params"]} for group in step.optimizer.param_groups]
        graph = trace(lambda inputs: step.bare(inputs, step.optimizer), inputs, self.state)
        self.fixed_learning_rates = not lift_learning_rates(graph, len(inputs), self.state, groups)
        try:
            with outside_autograd(inputs[0].device):
                simplify(graph, inputs, self.state, [0.0] * len(groups))
        except RuntimeError as error:  # an operation that cannot be replayed, such as the gradient of an LSTM of oneDNN
            raise NoProgramError(first_line(error)) from error
        self.run = graph.forward

    def __call__(self, inputs: Inputs, learning_rates: list[float]) -> Metrics:
        metrics: Metrics = self.run(*inputs, *self.state, *learning_rates)
        return metrics


def lift_learning_rates(graph: fx.GraphModule, num_inputs: int, state: list[Tensor], groups: list[set[int]]) -> bool:
    """Make the learning rate of each group of parameters an input of the graph, for fused updates.

    Args:
        graph: With placeholders for a minibatch and the state; changed in place.
        num_inputs: Tensors of a minibatch.
        state: The values of the state.
        groups: The `id` of each parameter of each group.

    Returns:
        Whether every group has a fused update.
    """
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    owner = {node: id(tensor) for node, tensor in zip(placeholders[num_inputs:], state, strict=True)}
    rates: list[fx.Node] = []
    for number in range(len(groups)):
        with graph.graph.inserting_after([*placeholders, *rates][-1]):
            rates.append(graph.graph.placeholder(f"learning_rate_{number}"))
    lifted = set()
    for node in graph.graph.nodes:
        if "lr" not in node.kwargs or isinstance(node.kwargs["lr"], fx.Node):
            continue
        first = owner.get(node.args[0][0])
        for number, group in enumerate(groups):
            if first in group:
                node.update_kwarg("lr", rates[number])
                lifted.add(number)
    return len(lifted) == len(groups)
