"""Matrix products of a compiled step by oneDNN, where it is faster than the library that torch calls.

That is MKL, made for Intel's processors; on those of AMD, oneDNN can be twice as fast. Results differ by rounding.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten

MARGIN = 1.25
"""How many times faster a product must be; less is within the noise of the measurement."""

TRIALS = 30

library = torch.library.Library("aevb", "DEF")
library.define("mm(Tensor a, Tensor b) -> Tensor")
library.define("addmm(Tensor bias, Tensor a, Tensor b) -> Tensor")


@torch.library.impl(library, "mm", "CPU")
def mm(a: Tensor, b: Tensor) -> Tensor:
    """a b by oneDNN."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], "")
    return product


@torch.library.impl(library, "addmm", "CPU")
def addmm(bias: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a b + bias by oneDNN."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.t(), bias, "none", [], "")
    return product


@torch.library.impl(library, "mm", "Meta")
def shape_of_mm(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(a.shape[0], b.shape[1])


@torch.library.impl(library, "addmm", "Meta")
def shape_of_addmm(bias: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(a.shape[0], b.shape[1])


FASTER = {aten.mm.default: torch.ops.aevb.mm.default, aten.addmm.default: torch.ops.aevb.addmm.default}


def use_onednn(graph: fx.GraphModule) -> int:
    """Replace products of float32 matrices in a graph for a CPU, where oneDNN is faster; returns their number."""
    if not torch.backends.mkldnn.is_available():
        return 0
    faster: dict[tuple[object, ...], bool] = {}
    replaced = 0
    for node in graph.graph.nodes:
        if node.target not in FASTER or node.kwargs:
            continue
        operands = [operand.meta["tensor_meta"] for operand in node.args]
        key = (node.target, *((each.shape, each.stride) for each in operands))
        if key not in faster:
            faster[key] = is_faster(node.target, [like(each) for each in operands])
        if faster[key]:
            node.target = FASTER[node.target]
            replaced += 1
    graph.recompile()
    return replaced


def like(meta: "fx.passes.shape_prop.TensorMetadata") -> Tensor:
    return torch.empty_strided(meta.shape, meta.stride, dtype=meta.dtype).fill_(0.5)


def is_faster(target: Any, operands: list[Tensor]) -> bool:
    """Whether oneDNN computes a product in less time, by `MARGIN`."""
    if any(operand.dtype != torch.float32 for operand in operands):
        return False
    return MARGIN * seconds(FASTER[target], operands) < seconds(target, operands)


def seconds(compute: Callable[..., Tensor], operands: list[Tensor]) -> float:
    """The least time of some trials."""
    times = []
    for _ in range(TRIALS):
        start = time.perf_counter()
        compute(*operands)
        times.append(time.perf_counter() - start)
    return min(times)
