"""Data sets in MATLAB's format: Omniglot, the Caltech 101 silhouettes and SVHN."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from aevb.data.module import Splits, split_at_random
from aevb.data.published import File, PublishedDataModule, images


class Omniglot(PublishedDataModule):
    """Grey 28×28 images of handwritten characters: 23,000 to train on, 1345 for validation, 8070 for the test.

    The split into 24,345 and 8070 is that of IWAE; the validation set is drawn by `split_seed`. Labels are the
    50 alphabets. The file is `<root>/Omniglot/chardata.mat` (6 MB); values are grey levels in [0, 1], which most papers
    binarize dynamically.

    Source: Lake, Salakhutdinov and Tenenbaum (2015), in the form of Burda, Grosse and Salakhutdinov, Importance
    weighted autoencoders (2016); digest of tfsnippet.
    """

    num_val = 1345
    files = (
        File(
            "chardata.mat",
            ("https://raw.githubusercontent.com/yburda/iwae/master/datasets/OMNIGLOT/chardata.mat",),
            "md5:21ecaf34373511aa7691cf2e0802aa3d",
            64_000_000,
        ),
    )

    def read(self, content: dict[str, bytes]) -> Splits:
        x, alphabet, x_test, alphabet_test = variables(
            content["chardata.mat"], ("data", "target", "testdata", "testtarget")
        )
        train = images(columns(x.T), alphabet.argmax(0))
        test = images(columns(x_test.T), alphabet_test.argmax(0))
        return split_at_random(train, self.num_val, 0, self.split_seed)._replace(test=test)


class Caltech101Silhouettes(PublishedDataModule):
    """8671 black and white 28×28 outlines of objects: 4100 to train on, 2264 for validation, 2307 for the test.

    The objects, of 101 classes, are black (0) on white (1). The file is `caltech101_silhouettes_28_split1.mat` in
    `<root>/Caltech101Silhouettes`.

    Source: Marlin, Swersky, Chen and de Freitas, Inductive principles for restricted Boltzmann machine learning (2010);
    digest of DeepMind's dm_nevis.
    """

    files = (
        File(
            "caltech101_silhouettes_28_split1.mat",
            ("https://people.cs.umass.edu/~marlin/data/caltech101_silhouettes_28_split1.mat",),
            "md5:4483e9c14b188fd09937f9ea6f9ea777",
            16_000_000,
        ),
    )

    def read(self, content: dict[str, bytes]) -> Splits:
        names = [f"{part}_{what}" for what in ("data", "labels") for part in ("train", "val", "test")]
        *xs, y, y_val, y_test = variables(content[self.files[0].name], names)
        return Splits(*(images(columns(x != 0), y.ravel() - 1) for x, y in zip(xs, (y, y_val, y_test), strict=True)))


class SVHN(PublishedDataModule):
    """32×32 colour images of house numbers: 63,257 to train on, 10,000 for validation, 26,032 for the test.

    The last training images are for validation; the set `extra` is not used. Labels are the digits 0 to 9. The files
    are `<root>/SVHN/train_32x32.mat` and `test_32x32.mat` (246 MB).

    Source: Netzer et al., Reading digits in natural images with unsupervised feature learning (2011); digests of
    TensorFlow Datasets.
    """

    files = (
        File(
            "train_32x32.mat",
            ("http://ufldl.stanford.edu/housenumbers/train_32x32.mat",),
            "sha256:435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            200_000_000,
        ),
        File(
            "test_32x32.mat",
            ("http://ufldl.stanford.edu/housenumbers/test_32x32.mat",),
            "sha256:cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            80_000_000,
        ),
    )

    def read(self, content: dict[str, bytes]) -> Splits:
        (x, y), (x_test, y_test) = (variables(file, ("X", "y")) for file in content.values())
        # (H, W, C, N); the digit 0 is class 10.
        x, x_test = (part.transpose(3, 2, 0, 1) for part in (x, x_test))
        return self.hold_out(images(x, y.ravel() % 10), images(x_test, y_test.ravel() % 10))


def variables(content: bytes, names: Sequence[str]) -> list[np.ndarray]:
    """The arrays of these names in the content of a MATLAB file; floats become float32."""
    from scipy.io import loadmat  # takes a third of a second

    found: dict[str, Any] = loadmat(io.BytesIO(content), variable_names=list(names))
    return [found[name].astype(np.float32) if found[name].dtype.kind == "f" else found[name] for name in names]


def columns(x: np.ndarray) -> np.ndarray:
    """Rows of 784 values as 28×28 images that are stored column by column."""
    return x.reshape(-1, 28, 28).transpose(0, 2, 1)
