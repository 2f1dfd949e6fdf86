"""The minibatches of several runs that are trained together."""

from collections.abc import Iterator, Sequence
from typing import Any

from aevb.data.loader import BatchLoader


class MemberLoader(BatchLoader):
    """A training loader for each of R members, in step: an item is a tuple of R items, one of each member's loader.

    The loaders differ in their seed alone, which is one more for each member; the data at rest are shared.

    Args:
        loaders: Of the members, in order.
    """

    def __init__(self, loaders: Sequence[BatchLoader]) -> None:
        vars(self).update(vars(loaders[0]))
        self.loaders = list(loaders)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return zip(*self.loaders, strict=True)

    def set_epoch(self, epoch: int) -> None:
        for loader in self.loaders:
            loader.set_epoch(epoch)

    def give_back(self, minibatches: int) -> None:
        for loader in self.loaders:
            loader.give_back(minibatches)

    def state_dict(self) -> dict[str, Any]:
        """The state of the first member's loader, with the number of members: all loaders are at one position."""
        return {**self.loaders[0].state_dict(), "members": len(self.loaders)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state.get("members") != len(self.loaders):
            raise ValueError(f"cannot continue the data of {state.get('members')} members for {len(self.loaders)}")
        for member, loader in enumerate(self.loaders):
            loader.load_state_dict(state | {"seed": state["seed"] + member})
