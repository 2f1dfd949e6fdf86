"""The tensor operations of a training step as a graph."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from aevb.errors import first_line
from aevb.training.steps.runner import Inputs
from aevb.training.steps.verified import NoProgramError


def trace(step: Callable[[Inputs], Any], inputs: Inputs, state: list[Tensor]) -> fx.GraphModule:
    """The operations of forward pass, backward pass and update, with placeholders for inputs and state, in order.

    Args:
        step: Takes a minibatch, changes tensors in place, and returns metrics.
        inputs: A minibatch.
        state: All tensors that the step reads and changes in place.
    """

    def of_everything(*tensors: Tensor) -> Any:
        return step(tensors[: len(inputs)])

    try:
        graph = make_fx(of_everything, tracing_mode="real", _error_on_data_dependent_ops=True)(*inputs, *state)
    except Exception as error:  # whatever goes wrong under the tracer, the step itself may be sound
        reason = "Python reads the value of a tensor" if "_local_scalar_dense" in str(error) else first_line(error)
        raise NoProgramError(reason) from error
    for node in reversed(graph.graph.nodes):
        if node.op == "call_function" and getattr(node.target, "namespace", "") == "profiler":
            graph.graph.erase_node(node)
    graph.recompile()
    return graph
