"""Documents as counts of words."""

from typing import Any

import numpy as np
import torch

from aevb.data.module import InMemoryDataModule, Split, Splits, split_at_random
from aevb.errors import extra


class Documents(InMemoryDataModule):
    """395 news articles of Reuters as counts of 4258 words, (1, 1, 4258): 295 to train on, 50 each for the others.

    They come with the library lda, so there is nothing to download. An article has 36 to 541 words, all have 84,010;
    frequent and rare words are left out. No split is published; theirs is drawn by `split_seed`.

    Source: the library lda, https://github.com/lda-project/lda.
    """

    def load(self) -> Splits:
        """Read the counts from the installed library."""
        counts = torch.from_numpy(np.asarray(reuters().load_reuters(), dtype=np.float32))
        return split_at_random(Split(counts[:, None, None]), 50, 50, self.split_seed)

    @property
    def value_names(self) -> list[str]:
        """The words."""
        return list(reuters().load_reuters_vocab())


def reuters() -> Any:
    """The module of lda that reads the articles."""
    with extra("documents", "data=documents"):
        import lda.datasets
    return lda.datasets
