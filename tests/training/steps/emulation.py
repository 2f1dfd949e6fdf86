"""CUDA graphs emulated on the CPU: modes that refuse what would wait for the device, and a graph of operations."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten

WAITS = {
    aten._linalg_check_errors.default: "checks for errors in Python",
    aten.multinomial.default: "checks its weights in Python",
    aten.normal.Tensor_Tensor: "checks its scales in Python",
    aten.normal.float_Tensor: "checks its scales in Python",
    aten.lift_fresh.default: "copies a number of Python's to the device",
}


class WaitingError(Exception):
    pass


class NoWaiting(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = func is aten.index.Tensor and any(i is not None and i.dtype == torch.bool for i in args[1])
        data_dependent = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags)
        if func in WAITS or by_mask or (data_dependent and func is not aten.index.Tensor):
            raise WaitingError(f"{func}: {WAITS.get(func, 'the result depends on values')}")
        return func(*args, **(kwargs or {}))


class NoCopies(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.cpu, Tensor.numpy, Tensor.tolist):
            raise WaitingError(f"{func.__name__}: copies to the host")
        return func(*args, **(kwargs or {}))


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def as_they_are(tree: Any) -> Any:
    """The same memory in the shapes that tensors have now."""
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, tree)


class Recorder(TorchDispatchMode):
    """Records operations with the tensors they read and write, which are kept, so that their memory stays theirs.

    As capturing executes nothing, what is written to tensors that were there before is taken back by `undo`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.memory: set[int] = set()
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for tensor in tensors((args, kwargs)) if func._schema.is_mutable else []:
            address = tensor.untyped_storage().data_ptr()
            if address not in self.memory and id(tensor) not in self.before:
                self.before[id(tensor)] = (tensor, tensor.clone())
        results = func(*args, **kwargs)
        given = {tensor.untyped_storage().data_ptr() for tensor in tensors((args, kwargs))}
        fresh = [each for each in tensors(results) if each.untyped_storage().data_ptr() not in given]
        self.memory.update(tensor.untyped_storage().data_ptr() for tensor in fresh)
        if torch.Tag.inplace_view not in func.tags:  # which changes a shape only
            self.operations.append((func, *as_they_are((args, kwargs)), as_they_are(results)))
        return results

    def undo(self) -> None:
        for tensor, value in reversed(self.before.values()):
            tensor.copy_(value)

    def replay(self) -> None:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            for func, args, kwargs, results in self.operations:
                for kept, value in zip(tensors(results), tensors(func(*args, **kwargs)), strict=True):
                    if kept.untyped_storage().data_ptr() != value.untyped_storage().data_ptr():
                        kept.copy_(value)


class EmulatedGraphs:
    """Graphs of operations on memory that stays, captured without an effect, and replayed without Python."""

    captured = 0

    def warm_up(self) -> Any:
        return nullcontext()

    @contextmanager
    def no_waiting(self) -> Iterator[None]:
        with NoCopies(), NoWaiting():
            yield

    def capture(self, compute: Callable[[], Any], generators: Sequence[torch.Generator] = ()) -> Any:
        self.captured += 1
        recorder, noise = Recorder(), torch.get_rng_state()
        states = [generator.get_state() for generator in generators]
        try:
            with recorder, self.no_waiting():
                results = compute()
        finally:
            with torch.no_grad():
                recorder.undo()
            torch.set_rng_state(noise)
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)
        return recorder.replay, results
