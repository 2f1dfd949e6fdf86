"""What the peers share: their arguments, the images, and how they report."""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass
class Arguments:
    """The same run for every peer: the paper's model of MNIST."""

    data: str = "data"
    samples: int = 500_000
    batch: int = 100
    hidden: int = 500
    latent: int = 20
    num_samples: int = 1
    lr: float = 0.01
    seed: int = 0


@dataclass
class Result:
    """Training images per second, without start-up, compilation and the test; and the test set's ELBO in nats."""

    images_per_second: float
    elbo: float


def images(a: Arguments) -> tuple[np.ndarray, np.ndarray]:
    """Training images (50,000, 28, 28) and test images (10,000, 28, 28), uint8."""
    return read(a, "train")[:50_000], read(a, "t10k")


def read(a: Arguments, part: str) -> np.ndarray:
    values = np.fromfile(Path(a.data) / "MNIST" / "raw" / f"{part}-images-idx3-ubyte", dtype=np.uint8)
    return values[16:].reshape(-1, 28, 28)


def torchvision_mnist(a: Arguments) -> tuple[Any, Any]:
    """torchvision's data sets: the same 50,000 training images, and the test images."""
    from torch.utils.data import Subset
    from torchvision import datasets, transforms

    train, test = (datasets.MNIST(a.data, train=part, transform=transforms.ToTensor()) for part in (True, False))
    return Subset(train, range(50_000)), test


def finish(main: Callable[[Arguments], Result]) -> None:
    """Run a peer as a program, and print its result as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    for name, value in asdict(Arguments()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    start = time.perf_counter()
    result = main(Arguments(**vars(parser.parse_args())))
    print(json.dumps(asdict(result) | {"seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    raise SystemExit("run one of the peers beside this file")
