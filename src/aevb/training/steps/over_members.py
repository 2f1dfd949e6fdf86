"""The graph of one member's operations, executed for several members at once.

Each operation is replaced by its form under `torch.vmap` on tensors with a leading axis of members. Random operations
are not batched: each member draws from its own generator, in the order of the graph, and so has the noise of the run of
its seed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from aevb.training.steps.verified import NoProgramError

aten = torch.ops.aten


class Draw:
    """A random operation of a step, drawn for each member by its own generator.

    Args:
        node: Of the member's graph.
        is_batched: Whether each of its tensors has an axis of members.
        generators: Of the members.
    """

    def __init__(self, node: fx.Node, is_batched: Sequence[bool], generators: Sequence[torch.Generator]) -> None:
        schema: Any = node.target._schema  # type: ignore[union-attr]
        takes_generator = any(argument.name == "generator" for argument in schema.arguments)
        self.operation: Any = node.target if takes_generator else getattr(packet(node), "generator", None)
        if self.operation is None:
            raise NoProgramError(f"{node.target} takes no generator")
        flat, self.spec = pytree.tree_flatten((node.args, node.kwargs))
        self.flat = [item for item in flat if not isinstance(item, fx.Node)]
        self.is_node = [isinstance(item, fx.Node) for item in flat]
        self.is_batched, self.generators = is_batched, generators

    def __call__(self, tensors: Sequence[Tensor]) -> Tensor:
        return torch.stack([self.of(member, tensors) for member in range(len(self.generators))])

    def of(self, member: int, tensors: Sequence[Tensor]) -> Tensor:
        """The draw of a member."""
        mine = iter(t[member] if batched else t for t, batched in zip(tensors, self.is_batched, strict=True))
        constants = iter(self.flat)
        args, kwargs = pytree.tree_unflatten([next(mine if node else constants) for node in self.is_node], self.spec)
        drawn: Tensor = self.operation(*args, **kwargs | {"generator": self.generators[member]})
        return drawn


DRAWS: dict[int, Draw] = {}
"""By the number by which a program calls it."""

library = torch.library.Library("aevb", "FRAGMENT")
library.define("draw(Tensor[] tensors, int number) -> Tensor", tags=(torch.Tag.nondeterministic_seeded,))
library.impl("draw", lambda tensors, number: DRAWS[number](tensors), "CompositeExplicitAutograd")


def packet(node: fx.Node) -> Any:
    """The operation that a node calls, with all its overloads."""
    return node.target.overloadpacket  # type: ignore[union-attr]


def dot(x: Tensor, y: Tensor) -> Tensor:
    """xᵀy; that of torch is slow for several."""
    return (x * y).sum(-1)


def slice_scatter(x: Tensor, values: Tensor, dim: int = 0, start: int = 0, end: int = 0, step: int = 1) -> Tensor:
    """Values in the place of a slice of x; that of torch makes as many numbers as `end`, which may be the largest."""
    return aten.slice_scatter.default(x, values, dim, start, min(end, x.shape[dim]), step)


def as_strided_scatter(
    x: Tensor, values: Tensor, size: Sequence[int], stride: Sequence[int], offset: int | None = None
) -> Tensor:
    """Values in the place of numbers of x, which is contiguous; torch has it for one x."""
    index = torch.as_strided(torch.arange(x.numel(), device=x.device), size, stride, offset)
    return x.flatten().index_copy(0, index.flatten(), values.flatten()).view(x.shape)


def convolution_backward(*args: Any) -> tuple[Tensor, ...]:
    """The gradients of a convolution; those that are not asked for are None, which `torch.vmap` refuses."""
    found = aten.convolution_backward.default(*args)
    return tuple(args[0].new_empty(0) if gradient is None else gradient for gradient in found)


OPERATIONS: dict[Any, Callable[..., Any]] = {
    aten.dot.default: dot,
    aten.view.default: aten.reshape.default,  # a member's values may be apart in memory
    aten.slice_scatter.default: slice_scatter,
    aten.as_strided_scatter.default: as_strided_scatter,
    aten.convolution_backward.default: convolution_backward,
}
"""What takes the place of operations that `torch.vmap` refuses, or executes slowly."""


class OverMembers(fx.Interpreter):
    """Executes the graph of one member for all: its inputs have a leading axis of members.

    Args:
        graph: Without operations that change their operands, but for copies to inputs.
        generators: Of the members.
    """

    def __init__(self, graph: fx.GraphModule, generators: Sequence[torch.Generator]) -> None:
        super().__init__(graph)
        self.generators = generators
        self.batched: set[fx.Node] = set()

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "placeholder":
            self.batched.add(n)
        if n.op == "output":
            return pytree.tree_map_only(fx.Node, self.expanded, n.args[0])
        if n.op != "call_function":
            return super().run_node(n)
        is_random = isinstance(n.target, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in n.target.tags
        if is_random:
            nodes = [item for item in pytree.tree_leaves((n.args, n.kwargs)) if isinstance(item, fx.Node)]
            self.batched.add(n)
            number = len(DRAWS)
            DRAWS[number] = Draw(n, [node in self.batched for node in nodes], self.generators)
            return torch.ops.aevb.draw([self.env[node] for node in nodes], number)
        if not any(node in self.batched for node in n.all_input_nodes):
            return super().run_node(n)
        self.batched.add(n)
        if not isinstance(n.target, torch._ops.OpOverload):  # an item of a tuple
            return super().run_node(n)
        return self.over_members(n)

    def over_members(self, n: fx.Node) -> Any:
        """The operation of a node under `torch.vmap`."""
        target: Any = n.target
        flat, spec = pytree.tree_flatten((n.args, n.kwargs))
        axes = [0 if isinstance(item, fx.Node) and item in self.batched else None for item in flat]

        def operation(*values: Any) -> Any:
            args, kwargs = pytree.tree_unflatten(values, spec)
            return OPERATIONS.get(n.target, target)(*args, **kwargs)

        values = [self.env[item] if isinstance(item, fx.Node) else item for item in flat]
        return torch.vmap(operation, in_dims=tuple(axes))(*values)

    def expanded(self, n: fx.Node) -> Any:
        """A result with an axis of members."""
        value = self.env[n]
        return value if n in self.batched else torch.stack([value] * len(self.generators))
