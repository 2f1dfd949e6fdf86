"""A training step recorded once as a flat list of tensor operations, and replayed.

A step of a small model spends much of its time in Python: modules, distributions, autograd and the optimizer decide
anew, at every step, to do the same. A `Recording` is what is left of a step without them: the operations on tensors of
forward pass, backward pass and update, in their order. It calls the same kernels on the same values, and draws the same
noise, so its results are the same to the last bit.
"""

from torch import Tensor, fx

from aevb.training.steps.runner import Metrics, TrainingStep
from aevb.training.steps.simplification import simplify
from aevb.training.steps.tracing import trace
from aevb.training.steps.verified import Verified, bitwise_equal, outside_autograd


class Recorded(Verified):
    """Replays a `Recording`, if it agrees with the eager step to the last bit."""

    name = "recorded"

    def make(self, x: Tensor) -> "Recording":
        return Recording(self.step, x)

    def agree(self, expected: Tensor, found: Tensor, before: Tensor) -> bool:
        return bitwise_equal(expected, found)


class Recording:
    """The operations of a step, simplified.

    Args:
        step: It is taken twice; the caller restores the state afterwards.
        x: A minibatch; others must be of its shape and type.

    Attributes:
        fixed_learning_rates: Whether the learning rates are part of the recording, so that it holds for these alone: a
            fused optimizer's are arguments of one operation, others compute with them.

    Raises:
        NoProgramError: see `trace`.
    """

    def __init__(self, step: TrainingStep, x: Tensor) -> None:
        self.state = step.state()
        groups = [{id(parameter) for parameter in group["params"]} for group in step.optimizer.param_groups]
        graph = trace(lambda x: step.bare(x, step.optimizer), x, self.state)
        self.fixed_learning_rates = not lift_learning_rates(graph, self.state, groups)
        with outside_autograd(x.device):
            simplify(graph, [x, *self.state, *([0.0] * len(groups))])
        self.run = graph.forward

    def __call__(self, x: Tensor, learning_rates: list[float]) -> Metrics:
        metrics: Metrics = self.run(x, *self.state, *learning_rates)
        return metrics


def lift_learning_rates(graph: fx.GraphModule, state: list[Tensor], groups: list[set[int]]) -> bool:
    """Add a placeholder for the learning rate of each group of parameters, and let fused updates take it from there.

    Args:
        graph: With placeholders for a minibatch and the state; changed in place.
        state: The values of the latter.
        groups: The `id` of each parameter of each group.

    Returns:
        Whether every group is updated so.
    """
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    owner = {node: id(tensor) for node, tensor in zip(placeholders[1:], state, strict=True)}
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
