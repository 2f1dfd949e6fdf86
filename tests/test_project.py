"""The installed project: its version, and the pitfalls of its dependencies."""

import tomllib
from pathlib import Path

import torch
import torchvision

import aevb

ROOT = Path(__file__).parents[1]


def test_version_is_that_of_pyproject() -> None:
    """A difference means that the installed metadata are stale."""
    assert aevb.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_tested_package_is_the_one_of_this_checkout() -> None:
    assert Path(aevb.__file__).resolve() == ROOT.resolve() / "src" / "aevb" / "__init__.py"


def test_torchvision_has_its_operators() -> None:
    """A torchvision that was built for another torch lacks them."""
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.9], [2.0, 2.0, 3.0, 3.0]])
    kept = torchvision.ops.nms(boxes, scores=torch.tensor([0.5, 0.9, 0.7]), iou_threshold=0.5)
    assert kept.tolist() == [1, 2]
