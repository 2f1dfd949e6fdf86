"""Data sets in MNIST's format: FashionMNIST, KMNIST and EMNIST."""

import io
import os
import zipfile
from typing import Any, Literal

from aevb.data.mnist import MNIST, PARTS, gzipped, idx
from aevb.data.module import Splits
from aevb.data.published import File, PublishedDataModule, images

Subset = Literal["balanced", "byclass", "bymerge", "digits", "letters", "mnist"]


class FashionMNIST(MNIST):
    """70,000 grey 28×28 images of ten kinds of clothes: 50,000 to train on, 10,000 each for validation and test.

    The last training images are for validation. The files lie in `<root>/FashionMNIST/raw`, packed (31 MB).

    Source: Xiao, Rasul and Vollgraf, Fashion-MNIST (2017), arXiv 1708.07747; digests of TensorFlow Datasets.
    """

    files = gzipped(
        ["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"],
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    )


class KMNIST(MNIST):
    """70,000 grey 28×28 images of ten cursive Japanese characters, split as FashionMNIST is.

    The files lie in `<root>/KMNIST/raw`, packed (21 MB).

    Source: Clanuwat et al., Deep learning for classical Japanese literature (2018), arXiv 1812.01718; digests of
    TensorFlow Datasets.
    """

    files = gzipped(
        ["http://codh.rois.ac.jp/kmnist/dataset/kmnist/"],
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    )


class EMNIST(PublishedDataModule):
    """Grey 28×28 images of handwritten digits and letters.

    | `subset` | training | test | classes |
    |---|---|---|---|
    | balanced | 112,800 | 18,800 | 47 |
    | byclass | 697,932 | 116,323 | 62 |
    | bymerge | 697,932 | 116,323 | 47 |
    | digits | 240,000 | 40,000 | 10 |
    | letters | 124,800 | 20,800 | 26 |
    | mnist | 60,000 | 10,000 | 10 |

    The last training images, as many as there are for the test, are for validation. The archive of all subsets is
    `<root>/EMNIST/gzip.zip` (562 MB).

    Source: Cohen, Afshar, Tapson and van Schaik, EMNIST (2017), arXiv 1702.05373; digest of torchvision.

    Args:
        root: The folder of all data sets.
        subset: See above.
        kwargs: See `InMemoryDataModule`.
    """

    num_val = None
    files = (
        File(
            "gzip.zip",
            ("https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",),
            "md5:58c8d27c78d21e728a6bc7b3cc06412e",
            600_000_000,
        ),
    )

    def __init__(self, root: str | os.PathLike[str], subset: Subset = "balanced", **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.subset = subset

    def read(self, content: dict[str, bytes]) -> Splits:
        with zipfile.ZipFile(io.BytesIO(content["gzip.zip"])) as archive:
            names = [f"gzip/emnist-{self.subset}-{part.replace('t10k', 'test')}.gz" for part in PARTS]
            x, y, x_test, y_test = (idx(archive.read(name)) for name in names)
        first = int(self.subset == "letters")  # the others are numbered from 0
        y, y_test = y - first, y_test - first
        # The images are stored column by column.
        return self.hold_out(images(x.transpose(0, 2, 1), y), images(x_test.transpose(0, 2, 1), y_test))
