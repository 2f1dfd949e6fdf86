"""The handwritten digits of scikit-learn, without a download."""

import torch

from aevb.data.module import InMemoryDataModule, Split, Splits, split_at_random


class Digits(InMemoryDataModule):
    """1797 grey 8×8 images of the digits 0 to 9: 1397 for training, 200 each for validation and test, by seed.

    The 17 grey levels 0..16 are scaled to 0..255.

    Source: Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI Machine Learning Repository (1998), the
    part in scikit-learn's `load_digits`.
    """

    def load(self) -> Splits:
        """Read the images from the installed scikit-learn."""
        from sklearn.datasets import load_digits  # takes a second

        digits = load_digits()
        x = (torch.from_numpy(digits.images) * 255 / 16).round().to(torch.uint8).unsqueeze(1)
        return split_at_random(Split(x, torch.from_numpy(digits.target).long()), 200, 200, self.split_seed)
