"""MNIST in the black and white form that density models are compared on."""

import numpy as np

from aevb.data.module import Splits
from aevb.data.published import File, PublishedDataModule, images

URL = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"


class BinarizedMNIST(PublishedDataModule):
    """MNIST, drawn once as black and white: 50,000 to train on, 10,000 each for validation and test; no labels.

    Every paper that says "fixed binarization" or "statically binarized MNIST" has these very images. The files lie in
    `<root>/BinarizedMNIST` (110 MB).

    Source: Larochelle and Murray, The neural autoregressive distribution estimator (2011), after Salakhutdinov and
    Murray (2008); digests of TensorFlow Datasets.
    """

    files = tuple(
        File(f"binarized_mnist_{part}.amat", (f"{URL}binarized_mnist_{part}.amat",), f"sha256:{digest}", max_bytes)
        for part, digest, max_bytes in (
            ("train", "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d", 78_400_000),
            ("valid", "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2", 15_680_000),
            ("test", "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c", 15_680_000),
        )
    )

    def read(self, content: dict[str, bytes]) -> Splits:
        # Each value is the digit 0 or 1 and a space, or the end of a line.
        values = (np.frombuffer(text, np.uint8)[::2] == ord("1") for text in content.values())
        return Splits(*(images(x.reshape(-1, 28, 28)) for x in values))
