"""Distributions of vectors whose blocks are drawn one after the other."""

from collections.abc import Callable, Generator, Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

Program = Generator[Distribution, Tensor, None]
"""Yields the distribution of the next block given those before, and is sent the block's value."""


class Chain(Distribution):
    """p(z) = Π_l p(z_l | blocks drawn before z_l), z the concatenation of its blocks.

    The conditionals come from a generator, so what they share (the state of a recurrent or top-down network) is
    computed once for all blocks:

        def program():
            z_2 = yield top
            z_1 = yield Independent(Normal(f(z_2), 1), 1)

        Chain(program, sizes=(5, 3), order=(1, 0))

    Shapes: batch that of the first conditional, event (Σ sizes,).

    Args:
        program: Starts the generator of the conditionals, in the order in which blocks are drawn. Each has a batch
            shape that ends the shape of the draws, and the event shape of its block.
        sizes: Dimensions of each block, in the order in which the blocks lie in z.
        order: Indices of the blocks in the order in which they are drawn.
        names: Of the blocks, under which their KL is logged; none: it is not.
    """

    arg_constraints = {}  # noqa: RUF012 - as torch declares it
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        program: Callable[[], Program],
        sizes: Sequence[int],
        order: Sequence[int],
        names: Sequence[str] = (),
    ) -> None:
        self.program, self.sizes, self.order, self.names = program, tuple(sizes), tuple(order), names
        self._started: Program | None = self.program()
        self.first = next(self._started)
        """The distribution of the block that is drawn first."""
        super().__init__(self.first.batch_shape, torch.Size((sum(self.sizes),)), validate_args=False)

    def before(self, block: int) -> set[int]:
        """Blocks that are drawn before a block."""
        return set(self.order[: self.order.index(block)])

    def split(self, z: Tensor) -> tuple[Tensor, ...]:
        """The blocks of z (..., Σ sizes), in the order in which they lie in it."""
        return z.split(self.sizes, dim=-1)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.rsample_and_conditionals(sample_shape)[0]

    def rsample_and_conditionals(self, sample_shape: Sequence[int] = ()) -> tuple[Tensor, list[Distribution]]:
        """A reparameterized sample z, and `conditionals(z)`, by one pass through the program."""
        shape = torch.Size(sample_shape) + self.batch_shape
        conditionals, values = self._run(lambda block, p: p.rsample(missing(shape, p)))
        return torch.cat(values, dim=-1), conditionals

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.redraw((), torch.Size(sample_shape) + self.batch_shape)

    @torch.no_grad()
    def redraw(self, kept: Sequence[Tensor | None], shape: Sequence[int]) -> Tensor:
        """Draws z (*shape, Σ sizes) whose blocks are those of `kept`, by index, where it has one that is not None.

        Blocks that are drawn after a kept one depend on it; those drawn before do not.
        """
        given = dict(enumerate(kept))

        def value(block: int, conditional: Distribution) -> Tensor:
            known = given.get(block)
            drawn = conditional.sample(missing(torch.Size(shape), conditional)) if known is None else known
            return drawn.expand(*shape, self.sizes[block])

        return torch.cat(self._run(value)[1], dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        first, *others = (
            conditional.log_prob(block)
            for conditional, block in zip(self.conditionals(value), self.split(value), strict=True)
        )
        return sum(others, start=first)

    def conditionals(self, z: Tensor) -> list[Distribution]:
        """The distribution of each block at the blocks of z drawn before it, in the order in which blocks lie in z."""
        blocks = self.split(z)
        return self._run(lambda block, conditional: blocks[block])[0]

    def _run(self, value_of: Callable[[int, Distribution], Tensor]) -> tuple[list[Distribution], list[Tensor]]:
        """Run the program with the values that a function gives; conditionals and values by block."""
        conditionals: dict[int, Distribution] = {}
        values: dict[int, Tensor] = {}
        program, conditional = self._start()
        for position, block in enumerate(self.order):
            conditionals[block], values[block] = conditional, value_of(block, conditional)
            if position < len(self.order) - 1:
                conditional = program.send(values[block])
        blocks = range(len(self.order))
        return [conditionals[block] for block in blocks], [values[block] for block in blocks]

    def _start(self) -> tuple[Program, Distribution]:
        """A program that has yielded its first conditional: the one that the constructor started, then new ones."""
        program, self._started = self._started, None
        if program is not None:
            return program, self.first
        program = self.program()
        return program, next(program)


def missing(shape: torch.Size, distribution: Distribution) -> torch.Size:
    """The sample shape by which a distribution's draws have the batch shape `shape`."""
    return shape[: len(shape) - len(distribution.batch_shape)]


def layers_of(latent_dim: int, latent_dims: Sequence[int]) -> tuple[int, ...]:
    """The sizes of layers, which must be positive and add up to latent_dim.

    Raises:
        ValueError: they do not.
    """
    if not latent_dims or any(size < 1 for size in latent_dims) or sum(latent_dims) != latent_dim:
        raise ValueError(f"latent_dims must be positive and add up to {latent_dim}, got {list(latent_dims)}")
    return tuple(latent_dims)
