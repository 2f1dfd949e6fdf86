"""Counts of cells and genes, or the like, from an AnnData file."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aevb.data.own import OwnDataModule, dense
from aevb.errors import extra, first_line


class AnnData(OwnDataModule):
    """The matrix of an .h5ad file: an observation a datapoint (1, 1, D), a variable a dimension; sparse or dense.

    Args:
        path: The file.
        layer: Of the matrix, such as `counts`; None: X.
        label: A column of `obs` whose values are classes; None: there are none.
        kwargs: See `OwnDataModule` and `InMemoryDataModule`.
    """

    def __init__(
        self, path: str | os.PathLike[str], layer: str | None = None, label: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.path = Path(path).expanduser()
        self.place = f"data.path: {self.path}"
        self.layer = layer
        self.label = label
        self.classes: list[str] = []
        """Names of the labels."""

    def arrays(self) -> Mapping[str, np.ndarray]:
        with extra("anndata", "data=anndata"):
            import anndata
        try:
            table = anndata.read_h5ad(self.path)
        except Exception as error:  # what the library raises is not documented
            raise self._error(f"cannot be read: {first_line(error)}") from error
        if self.layer is not None and self.layer not in table.layers:
            raise self._error(f"has no layer {self.layer!r}; it has {', '.join(table.layers) or 'none'}")
        if self.label is not None and self.label not in table.obs:
            raise self._error(f"has no column {self.label!r} in obs; it has {', '.join(table.obs) or 'none'}")
        values = table.X if self.layer is None else table.layers[self.layer]
        if values is None:
            raise self._error("has no X; choose data.layer")
        arrays = {"x": dense(values, self.place)}
        if self.label is None:
            return arrays
        labels = table.obs[self.label].astype(str).astype("category").cat
        self.classes = list(labels.categories)
        return arrays | {"y": labels.codes.to_numpy(np.int64)}
