"""Data sets by the library `datasets`: of the Hugging Face hub, or of a folder."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aevb.data.folder import COLOUR, upright
from aevb.data.own import OwnDataModule
from aevb.errors import ConfigError, extra, first_line
from aevb.types import AtLeastTwo

PARTS = {"_train": ("train",), "_val": ("validation", "valid", "val", "dev"), "_test": ("test",)}
"""Names of the hub's data sets for the splits."""


class HuggingFace(OwnDataModule):
    """Images or vectors from a data set of the Hugging Face hub, or from a folder that `datasets` reads or has saved.

    The data set's own splits are used; what it does not split off, `val_fraction` and `test_fraction` do. No code of a
    data set is executed.

    Args:
        name: Of the data set, such as `ylecun/mnist`; or a folder.
        subset: Of the data set, where it has some; its "configuration".
        column: Of images, or of arrays of one shape; None: the only one of images.
        label: Column of integers or classes; None: the only one of classes, if there is one.
        size: [H, W] to which images are cropped about their centre and scaled; None: they have one size.
        colours: `grey` or `rgb`, into which images are converted; `auto`: as the first.
        local_files_only: Do not ask the hub, only what was downloaded before.
        kwargs: See `OwnDataModule` and `InMemoryDataModule`.
    """

    def __init__(
        self,
        name: str,
        subset: str | None = None,
        column: str | None = None,
        label: str | None = None,
        size: tuple[AtLeastTwo, AtLeastTwo] | None = None,
        colours: Literal["auto", "grey", "rgb"] = "auto",
        local_files_only: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name_or_folder = name
        self.place = f"data.name: {name}"
        self.subset = subset
        self.column = column
        self.label = label
        self.size = size
        self.colours = colours
        self.local_files_only = local_files_only

    def prepare_data(self) -> None:
        """Download what is missing."""
        self._loaded()

    def arrays(self) -> Mapping[str, np.ndarray]:
        loaded = self._loaded()
        chosen = {part: name for part, names in PARTS.items() for name in names if name in loaded}
        if "_train" not in chosen:
            raise self._error(f"has no split train; it has {', '.join(loaded)}")
        parts = chosen if len(chosen) > 1 else {"": "train"}
        column, label = self._columns(loaded["train"].features)
        arrays: dict[str, np.ndarray] = {}
        for part, name in parts.items():
            arrays[f"x{part}"] = self._values_of(loaded[name], column)
            if label is not None:
                arrays[f"y{part}"] = np.asarray(loaded[name].with_format("numpy")[label][:])
        return arrays

    def _loaded(self) -> Mapping[str, Any]:
        """The splits by their names."""
        with extra("huggingface", "data=huggingface"):
            import datasets
        folder = Path(self.name_or_folder).expanduser()
        try:
            if (folder / "dataset_dict.json").exists():
                return dict(datasets.load_from_disk(str(folder)))
            name = str(folder) if folder.is_dir() else self.name_or_folder
            with offline(self.local_files_only):
                return dict(datasets.load_dataset(name, self.subset))
        except Exception as error:  # what the library raises is not documented
            raise self._error(f"cannot be loaded: {first_line(error)}") from error

    def _columns(self, features: Mapping[str, Any]) -> tuple[str, str | None]:
        """The column of the datapoints, and that of the labels."""
        kinds = {name: type(feature).__name__ for name, feature in features.items()}
        for setting, name in (("column", self.column), ("label", self.label)):
            if name is not None and name not in kinds:
                raise ConfigError(
                    f"data.{setting}: {self.name_or_folder} has no column {name!r}; it has {shown(kinds)}"
                )
        images, classes = ([name for name, kind in kinds.items() if kind == of] for of in ("Image", "ClassLabel"))
        if self.column is None and len(images) != 1:
            raise ConfigError(f"data.column must be one of the columns of {self.name_or_folder}: {shown(kinds)}")
        return self.column or images[0], self.label or (classes[0] if len(classes) == 1 else None)

    def _values_of(self, split: Any, column: str) -> np.ndarray:
        """Images (N, H, W) or (N, 3, H, W), uint8, or arrays as they are."""
        if type(split.features[column]).__name__ != "Image":
            try:
                return np.stack(split.with_format("numpy")[column][:])
            except ValueError as error:
                raise self._error(f"has arrays of several shapes in {column}") from error
        found = np.empty(0, np.uint8)
        for row, image in enumerate(split[column]):
            grey = self.colours == "grey" or (self.colours == "auto" and image.mode not in COLOUR)
            pixels = upright(image, grey if row == 0 else found.ndim == 3, self.size)
            if row == 0:
                found = np.empty((len(split), *pixels.shape), np.uint8)
            if pixels.shape != found.shape[1:]:
                raise self._error(f"has images of several sizes in {column}; set data.size=[H,W]")
            found[row] = pixels
        return found


@contextmanager
def offline(is_wanted: bool) -> Iterator[None]:
    """Let the libraries use what was downloaded before, and ask no server; they read their variable at import alone."""
    import datasets
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    if is_wanted:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


def shown(kinds: Mapping[str, str]) -> str:
    """Columns and their kinds, for messages."""
    return ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
