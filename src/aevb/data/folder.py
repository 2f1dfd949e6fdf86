"""A folder of image files."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

from aevb.data.numpy_file import MAX_MEMORY
from aevb.data.own import OwnDataModule
from aevb.errors import ConfigError, first_line
from aevb.types import AtLeastTwo

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
GREY, COLOUR = ("1", "L", "LA", "La"), ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV")
"""Pillow's modes of eight bits or fewer."""


class Folder(OwnDataModule):
    """Images from a folder, uint8, with the names of subfolders as labels.

        <path>/*.png                     no labels
        <path>/<class>/**/*.png          labels 0, 1, … in the order of the classes' names
        <path>/train/…, val/…, test/…    split already; each in one of the two ways above

    What is not split is split by `val_fraction` and `test_fraction`. Files and folders whose names start with a dot are
    not read, and of an animation or a stack only the first image is. A class may be a link to a folder.

    Args:
        path: The folder.
        size: [H, W] to which images are cropped about their centre and scaled; None: they have one size.
        colours: `grey` or `rgb`, into which images are converted; `auto`: grey if all are.
        kwargs: See `OwnDataModule` and `InMemoryDataModule`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: tuple[AtLeastTwo, AtLeastTwo] | None = None,
        colours: Literal["auto", "grey", "rgb"] = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = Path(path).expanduser()
        self.place = f"data.path: {self.path}"
        self.size = size
        self.colours = colours
        self.classes: list[str] = []
        """Names of the labels."""

    def arrays(self) -> Mapping[str, np.ndarray]:
        if not self.path.is_dir():
            raise self._error("is not a folder" if self.path.exists() else "does not exist")
        is_split = (self.path / "train").is_dir()
        parts = (
            ["_train", *(f"_{name}" for name in ("val", "test") if (self.path / name).is_dir())] if is_split else [""]
        )
        files = {part: self._files(self.path / part[1:]) for part in parts}
        self.classes = sorted({label for found in files.values() for label in found.values() if label is not None})
        grey, (height, width) = self._form([file for found in files.values() for file in found])
        arrays: dict[str, np.ndarray] = {}
        for part, found in files.items():
            arrays[f"x{part}"] = np.empty((len(found), *(() if grey else (3,)), height, width), np.uint8)
            with ThreadPoolExecutor() as threads:
                for row, pixels in enumerate(threads.map(lambda file: self._pixels(file, grey), found)):
                    arrays[f"x{part}"][row] = pixels
            if None not in found.values():
                arrays[f"y{part}"] = np.array([self.classes.index(str(label)) for label in found.values()])
        return arrays

    def _files(self, folder: Path) -> dict[Path, str | None]:
        """The images in a folder, in order, and the names of their classes."""
        found: dict[Path, str | None] = {}
        # `rglob` follows no links below its root, hence a root for each class.
        tops = sorted(folder.iterdir())
        for file in (file for top in tops for file in (sorted(top.rglob("*")) if top.is_dir() else [top])):
            inner = file.relative_to(folder).parts
            is_hidden = any(part.startswith(".") for part in inner)
            if file.suffix.lower() in SUFFIXES and file.is_file() and not is_hidden:
                found[file] = inner[0] if len(inner) > 1 else None
        if not found:
            raise self._error(f"has no images{f' in {folder.name}' if folder != self.path else ''}: files that end in "
                              f"{', '.join(SUFFIXES)}")  # fmt: skip
        if len({label is None for label in found.values()}) > 1:
            alone = next(file for file, label in found.items() if label is None)
            raise self._error(f"has images beside the folders of its classes, such as {self._name(alone)}")
        return found

    def _form(self, files: list[Path]) -> tuple[bool, tuple[int, int]]:
        """Whether the images are grey, and their height and width, by their headers."""
        modes, sizes = Counter[str](), dict[tuple[int, int], Path]()
        for file in files:
            with self._opened(file) as image:
                if image.mode not in (*GREY, *COLOUR):
                    what = f"with more than 8 bits a value ({image.mode})"
                    raise self._error(f"has {self._name(file)} {what}; use a .npy file")
                modes[image.mode] += 1
                height, width = image.height, image.width
                if image.getexif().get(0x0112, 1) >= 5:  # turned by a quarter
                    height, width = width, height
                sizes.setdefault((height, width), file)
        if self.size is None and len(sizes) > 1:
            shown = ", ".join(
                f"{self._name(file)} of {height}x{width}" for (height, width), file in list(sizes.items())[:3]
            )
            raise self._error(f"has images of {len(sizes)} sizes ({shown}); set data.size=[H,W]")
        grey = self.colours == "grey" or (self.colours == "auto" and not any(mode in COLOUR for mode in modes))
        size = self.size or next(iter(sizes))
        needed = len(files) * size[0] * size[1] * (1 if grey else 3)
        if needed > MAX_MEMORY:
            raise self._error(f"has {needed:,} bytes of pixels, more than fit into memory; set a smaller data.size")
        return grey, size

    def _pixels(self, file: Path, grey: bool) -> np.ndarray:
        """An image (H, W), or (3, H, W)."""
        with self._opened(file) as image:
            return upright(image, grey, self.size)

    @contextmanager
    def _opened(self, file: Path) -> Iterator[Image.Image]:
        try:
            with Image.open(file) as image:
                yield image
        except ConfigError:
            raise
        except Exception as error:  # errors of damaged files are not documented
            raise self._error(f"has {self._name(file)}, which cannot be read: {first_line(error)}") from error

    def _name(self, file: Path) -> Path:
        """A file as messages name it."""
        return file.relative_to(self.path)


def upright(image: Image.Image, grey: bool, size: tuple[int, int] | None) -> np.ndarray:
    """An image (H, W), or (3, H, W) in colours, turned as it was photographed, cropped and scaled to `size`, (H, W)."""
    image = ImageOps.exif_transpose(image).convert("L" if grey else "RGB")
    if size is not None:
        image = ImageOps.fit(image, (size[1], size[0]))
    pixels = np.asarray(image)
    return pixels if grey else pixels.transpose(2, 0, 1)
