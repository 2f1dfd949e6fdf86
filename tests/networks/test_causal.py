"""The causal transformer sees the past, and by steps what it sees at once."""

import pytest
import torch

from aevb.networks import CausalTransformer


def network() -> CausalTransformer:
    torch.manual_seed(0)
    return CausalTransformer(num_codes=5, steps=6, width=8, depth=2, heads=2).double()


def test_logits_depend_on_the_codes_before_alone() -> None:
    before = torch.randint(6, (3, 2, 6))
    logits, _ = network()(before)
    assert logits.shape == (3, 2, 6, 5)
    for position in range(6):
        changed = before.clone()
        changed[..., position] = (before[..., position] + 1) % 6
        difference = (network()(changed)[0] - logits).abs().amax((0, 1, 3))
        assert (difference > 0).tolist() == [step >= position for step in range(6)]


@pytest.mark.parametrize("sizes", [[1] * 6, [2, 3, 1], [4, 2]])
def test_steps_have_the_logits_of_one_pass(sizes: list[int]) -> None:
    before, found, state, first = torch.randint(6, (3, 6)), [], None, 0
    for part in before.split(sizes, dim=-1):
        logits, state = network()(part, first, state)
        found.append(logits)
        first += part.shape[-1]
    torch.testing.assert_close(torch.cat(found, -2), network()(before)[0])


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match=r"^width must be a multiple of heads, 3, got 8$"):
        CausalTransformer(5, 6, width=8, heads=3)
