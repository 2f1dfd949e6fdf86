"""A training step recorded once as a flat list of tensor operations, and replayed.

A step of a small model spends much of its time in Python: modules, distributions, autograd and the optimizer decide
anew, at every step, to do the same. A `Recording` is what is left of a step without them: the operations on tensors of
forward pass, backward pass and update, in their order. It calls the same kernels on the same values, and draws the same
noise, so its results are the same to the last bit.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx
from torch.distributions import Distribution
from torch.fx.experimental.proxy_tensor import make_fx

aten = torch.ops.aten

DIRECT: dict[Any, Callable[..., Any]] = {
    aten.add.Tensor: torch.add,
    aten.addmm.default: torch.addmm,
    aten.binary_cross_entropy_with_logits.default: torch.binary_cross_entropy_with_logits,
    aten.cat.default: torch.cat,
    aten.div.Tensor: torch.div,
    aten.dot.default: torch.dot,
    aten.exp.default: torch.exp,
    aten.log.default: torch.log,
    aten.mm.default: torch.mm,
    aten.mul.Tensor: torch.mul,
    aten.neg.default: torch.neg,
    aten.sigmoid.default: torch.sigmoid,
    aten.stack.default: torch.stack,
    aten.sub.Tensor: torch.sub,
    aten.sum.dim_IntList: torch.sum,
    aten.t.default: torch.t,
    aten.tanh.default: torch.tanh,
    aten.view.default: Tensor.view,
}
"""Shorter ways from Python to some operations: two microseconds less for each."""

IN_PLACE: dict[Any, Callable[..., Any]] = {
    aten.add.Tensor: Tensor.add_,
    aten.div.Tensor: Tensor.div_,
    aten.exp.default: Tensor.exp_,
    aten.mul.Tensor: Tensor.mul_,
    aten.neg.default: Tensor.neg_,
    aten.sigmoid.default: Tensor.sigmoid_,
    aten.sub.Tensor: Tensor.sub_,
    aten.tanh.default: Tensor.tanh_,
}
"""Forms that write over their first operand, where nothing needs it any more: no new memory to touch."""

SHAPE_ONLY = {aten.ones_like.default, aten.zeros_like.default}
"""What follows from the shape of an operand, whatever its values."""

IMMOVABLE = {torch.Tag.nondeterministic_seeded, torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class NotRecordableError(RuntimeError):
    """A step does something that a list of operations cannot do again."""


class Recording:
    """The operations of a step.

    Args:
        step: Takes a minibatch, moves `state` in place, and returns metrics. It is called with gradients enabled, and
            once more by replaying it: the caller restores the state afterwards.
        x: A minibatch; others must be of its shape and type.
        state: All tensors that the step reads and writes in place.
        rates: The step size of each of `groups`. It may change from step to step.
        groups: Parameters that share a step size.

    Attributes:
        fixed_rates: Whether the step sizes are part of the recording, so that it holds for these alone: a fused
            optimizer's are arguments of one operation, others compute with them.

    Raises:
        NotRecordableError: the step makes Python decide by the value of a tensor.
    """

    def __init__(
        self,
        step: Callable[[Tensor], dict[str, Tensor]],
        x: Tensor,
        state: list[Tensor],
        groups: Iterable[list[Tensor]],
    ) -> None:
        self.state = state
        owners = [{id(parameter) for parameter in group} for group in groups]
        graph = trace(step, x, state, len(owners))
        self.fixed_rates = not lift_rates(graph, state, owners)
        simplify(graph, [x, *state, *([0.0] * len(owners))])
        self.run = graph.forward

    def __call__(self, x: Tensor, rates: list[float]) -> dict[str, Tensor]:
        """Take a step on a minibatch; returns its metrics."""
        with torch.no_grad():
            metrics: dict[str, Tensor] = self.run(x, *self.state, *rates)
        return metrics


def trace(step: Callable[[Tensor], Any], x: Tensor, state: list[Tensor], num_rates: int) -> fx.GraphModule:
    """The operations of a step: placeholders for x, the state and the step sizes, in this order.

    Raises:
        NotRecordableError: see `Recording`.
    """

    def of_everything(x: Tensor, *_: Tensor) -> Any:
        return step(x)

    try:
        with unvalidated_distributions():
            graph = make_fx(of_everything, tracing_mode="real", _error_on_data_dependent_ops=True)(x, *state)
    except Exception as error:  # whatever goes wrong under the tracer, the step itself may be sound
        raise NotRecordableError(first_words(error)) from error
    last = [node for node in graph.graph.nodes if node.op == "placeholder"][-1]
    for number in reversed(range(num_rates)):
        with graph.graph.inserting_after(last):
            graph.graph.placeholder(f"rate_{number}")
    for node in reversed(graph.graph.nodes):
        if node.op == "call_function" and getattr(node.target, "namespace", "") == "profiler":
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


def first_words(error: Exception) -> str:
    """The first line of what an error says."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


@contextmanager
def unvalidated_distributions() -> Iterator[None]:
    """Let torch's distributions not look at their parameters; a loss that is not finite is noticed without them."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


def lift_rates(graph: fx.GraphModule, state: list[Tensor], groups: list[set[int]]) -> bool:
    """Let fused updates take their step size from its placeholder; returns whether every group is updated so."""
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    owner = {node: id(tensor) for node, tensor in zip(placeholders[1:], state, strict=False)}
    rates = placeholders[1 + len(state) :]
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


class Values(fx.Interpreter):
    """The values of a graph's nodes, all kept, so that no two of them share memory by accident."""

    def __init__(self, graph: fx.GraphModule, arguments: list[Any]) -> None:
        super().__init__(graph, garbage_collect_values=False)
        with torch.no_grad():
            self.run(*arguments)

    def __getitem__(self, node: fx.Node) -> Any:
        return self.env[node]

    def memory(self, node: fx.Node) -> int | None:
        """What identifies the memory of a node's value; None: it is no tensor."""
        value = self.env.get(node)
        return value.untyped_storage().data_ptr() if isinstance(value, Tensor) else None

    def place(self, node: fx.Node) -> tuple[Any, ...] | None:
        """What two tensors have in common if they are one and the same."""
        value = self.env.get(node)
        if not isinstance(value, Tensor) or value.layout != torch.strided:
            return None
        return (self.memory(node), value.storage_offset(), value.shape, value.stride(), value.dtype, value.is_conj())


def simplify(graph: fx.GraphModule, arguments: list[Any]) -> None:
    """Remove from the graph what is the same at every step, and what copies without need."""
    values = Values(graph, arguments)
    written = {values.memory(operand) for node in graph.graph.nodes for operand in overwritten(node)}
    merge_views(graph, values)
    fold_constants(graph, values, written, len([a for a in arguments if isinstance(a, Tensor)]))
    graph.graph.eliminate_dead_code()
    reuse_memory(graph, values, written)
    for node in graph.graph.nodes:
        if node.op == "call_function" and node.target in DIRECT and accepts(node):
            node.target = DIRECT[node.target]
    graph.recompile()


def accepts(node: fx.Node) -> bool:
    """Whether the shorter way takes the operation's arguments as they are."""
    return not node.kwargs or node.target in (aten.add.Tensor, aten.sub.Tensor, aten.div.Tensor)


def schema_of(node: fx.Node) -> Any:
    """The schema of the operation that a node calls; None where it calls something else."""
    return getattr(node.target, "_schema", None) if node.op == "call_function" else None


def overwritten(node: fx.Node) -> list[fx.Node]:
    """The operands that an operation writes to."""
    schema, found = schema_of(node), []
    if schema is None or not schema.is_mutable:
        return []
    given = dict(zip((argument.name for argument in schema.arguments), node.args, strict=False)) | dict(node.kwargs)
    for argument in schema.arguments:
        if argument.alias_info is not None and argument.alias_info.is_write and argument.name in given:
            value = given[argument.name]
            found += [each for each in (value if isinstance(value, list | tuple) else [value]) if each is not None]
    return found


def is_view(node: fx.Node, values: Values) -> bool:
    """Whether an operation gives its operand in another shape."""
    schema = schema_of(node)
    if schema is None or schema.is_mutable or not isinstance(values[node], Tensor):
        return False
    return any(values.memory(operand) == values.memory(node) for operand in node.all_input_nodes)


def merge_views(graph: fx.GraphModule, values: Values) -> None:
    """One view for all that are the same, and none where it is the tensor itself."""
    first: dict[tuple[Any, ...], fx.Node] = {}
    for node in list(graph.graph.nodes):
        place = values.place(node) if node.op != "output" else None
        if place is None:
            continue
        if place in first and is_view(node, values):
            node.replace_all_uses_with(first[place])
            graph.graph.erase_node(node)
        else:
            first.setdefault(place, node)


def fold_constants(graph: fx.GraphModule, values: Values, written: set[int | None], num_tensors: int) -> None:
    """Keep the values that follow from no other than constants, and the views of the state."""
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    state = set(placeholders[1:num_tensors])
    constant: set[fx.Node] = set()
    for node in list(graph.graph.nodes):
        schema = schema_of(node)
        if node.op == "get_attr" and values.memory(node) not in written:
            constant.add(node)
        if schema is None or schema.is_mutable or IMMOVABLE & set(node.target.tags):
            continue
        value, operands = values[node], node.all_input_nodes
        if not isinstance(value, Tensor):
            continue
        of_state = is_view(node, values) and all(operand in state for operand in operands)
        settled = node.target in SHAPE_ONLY or all(operand in constant for operand in operands)
        if of_state or (settled and values.memory(node) not in written):
            name = f"kept_{node.name}"
            graph.register_buffer(name, value.detach(), persistent=False)
            with graph.graph.inserting_before(node):
                kept = graph.graph.get_attr(name)
            values.env[kept] = value
            node.replace_all_uses_with(kept)
            graph.graph.erase_node(node)
            (state if of_state else constant).add(kept)


def reuse_memory(graph: fx.GraphModule, values: Values, written: set[int | None]) -> None:
    """Let elementwise operations write over an operand whose memory nothing needs any more."""
    nodes = list(graph.graph.nodes)
    last_use: dict[int | None, int] = {}
    for position, node in enumerate(nodes):
        for operand in node.all_input_nodes:
            last_use[values.memory(operand)] = position
    foreign = {values.memory(node) for node in nodes if node.op in ("placeholder", "get_attr")}
    for position, node in enumerate(nodes):
        if node.target not in IN_PLACE or node.kwargs or not isinstance(node.args[0], fx.Node):
            continue
        operand = node.args[0]
        memory = values.memory(operand)
        if memory is None or memory in foreign or last_use[memory] != position:
            continue
        if sum(values.memory(each) == memory for each in node.all_input_nodes) > 1:
            continue
        old, new = values[operand], values[node]
        same = (old.shape, old.stride(), old.dtype) == (new.shape, new.stride(), new.dtype)
        if same and old.numel() == old.untyped_storage().nbytes() // old.itemsize:
            node.target = IN_PLACE[node.target]
