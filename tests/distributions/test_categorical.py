"""Draws of categories have the probabilities of their logits."""

import torch
from scipy.stats import chisquare

from aevb.distributions.categorical import draw_categories

DRAWS = 20_000


def test_draws_have_the_probabilities_of_the_logits():
    torch.manual_seed(0)
    logits = torch.tensor([[0.0, 1.0, -1.0, 2.0], [3.0, 0.0, 0.0, -2.0]]).T  # categories come first
    drawn = draw_categories(logits, -2, (DRAWS,))
    assert drawn.shape == (DRAWS, 2)
    for column, probabilities in zip(drawn.T, logits.double().softmax(0).T, strict=True):
        assert chisquare(column.bincount(minlength=4), DRAWS * probabilities).pvalue > 1e-3


def test_impossible_categories_are_not_drawn():
    torch.manual_seed(0)
    assert draw_categories(torch.tensor([0.0, -torch.inf, 0.0]), -1, (1000,)).unique().tolist() == [0, 2]
