"""MNIST."""

from aevb.data.idx import PARTS, idx
from aevb.data.module import Splits
from aevb.data.published import File, PublishedDataModule, images

URLS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")


class MNIST(PublishedDataModule):
    """70,000 grey 28×28 images of handwritten digits, with labels.

    The last 10,000 of the 60,000 training images are for validation; there are 10,000 test images. The files are in
    `<root>/MNIST/raw`, unpacked, as in torchvision, and are downloaded if they are missing (11 MB).

    Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits.

    Args:
        root: The folder of all data sets.
        kwargs: See `InMemoryDataModule`.
    """

    subfolder = "MNIST"
    files = tuple(
        File(f"raw/{part}", tuple(f"{url}{part}.gz" for url in URLS), f"sha256:{digest}", 48_000_000, packed=True)
        for part, digest in zip(
            PARTS,
            (
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
            strict=True,
        )
    )

    def read(self, content: dict[str, bytes]) -> Splits:
        x, y, x_test, y_test = map(idx, content.values())
        return self.hold_out(images(x, y), images(x_test, y_test))


class MNISTRows(MNIST):
    """MNIST as sequences of 28 steps, the rows of an image from top to bottom: x (28, 28); see `MNIST`."""

    def read(self, content: dict[str, bytes]) -> Splits:
        return Splits(*(split._replace(x=split.x.squeeze(1)) for split in super().read(content)))
