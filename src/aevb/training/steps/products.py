"""Matrix products on AMD's processors by oneDNN.

torch calls MKL, Intel's library, which does not use AVX-512 there: oneDNN takes half as long. Results differ by
rounding.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten

SIZE = 10_000_000
"""Multiplications of a product from which on oneDNN is used: a call of it takes some µs longer."""

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


BY_ONEDNN = {aten.mm.default: torch.ops.aevb.mm.default, aten.addmm.default: torch.ops.aevb.addmm.default}


@cache
def is_faster() -> bool:
    """Whether torch has both libraries, and the processor is one of AMD's with AVX-512."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_f")) and str(found.get("cpu_name")).startswith("AMD")


def is_large(a: Any, b: Any, *bias: Any) -> bool:
    """Whether a product is one of large float32 matrices that fit, given as tensors or by their metadata.

    torch reports what does not fit, and broadcasts a bias; oneDNN does neither.
    """
    if any(each.dtype != torch.float32 for each in (a, b, *bias)) or not len(a.shape) == len(b.shape) == 2:
        return False
    fit = a.shape[1] == b.shape[0] and all(each.shape == b.shape[1:] for each in bias)
    return bool(fit and a.shape[0] * a.shape[1] * b.shape[1] >= SIZE)


@contextmanager
def fast_products() -> Iterator[None]:
    """Let torch compute large products of float32 matrices on the CPU by oneDNN, where that is faster.

    For all of a training or an evaluation, so that eager and recorded steps have the same bits.
    """
    if not is_faster():
        yield
        return
    override = torch.library.Library("aten", "IMPL")
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of an override
            override.impl("mm", mm_of_torch, "CPU")
            override.impl("addmm", addmm_of_torch, "CPU")
        yield
    finally:
        override._destroy()


def mm_of_torch(a: Tensor, b: Tensor) -> Tensor:
    if is_large(a, b):
        return mm(a, b)
    # Not `aten.mm`, which is this function now.
    product: Tensor = aten.mm.out(a, b, out=a.new_empty(0))
    return product


def addmm_of_torch(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    if beta == alpha == 1 and is_large(a, b, bias):
        return addmm(bias, a, b)
    product: Tensor = aten.addmm.out(bias, a, b, beta=beta, alpha=alpha, out=a.new_empty(0))
    return product


def use_onednn(graph: fx.GraphModule) -> int:
    """Replace large products in a graph for a CPU, where oneDNN is faster; returns their number.

    A compiler calls torch's other variants of them, which write to given memory.
    """
    if not is_faster():
        return 0
    replaced = 0
    for node in graph.graph.nodes:
        if node.target not in BY_ONEDNN or node.kwargs:
            continue
        *bias, a, b = (operand.meta["tensor_meta"] for operand in node.args)
        if is_large(a, b, *bias):
            node.target = BY_ONEDNN[node.target]
            replaced += 1
    graph.recompile()
    return replaced
