"""The installed project: its version and its dependencies."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import torch
import torchvision

import aevb

ROOT = Path(__file__).parents[1]


def test_version_is_that_of_pyproject() -> None:
    """A difference means that the installed metadata are stale."""
    assert aevb.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {aevb.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_tested_package_is_the_one_of_this_checkout() -> None:
    assert Path(aevb.__file__).resolve() == ROOT.resolve() / "src" / "aevb" / "__init__.py"


def test_torchvision_has_its_operators() -> None:
    """A torchvision that was built for another torch lacks them."""
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.9], [2.0, 2.0, 3.0, 3.0]])
    kept = torchvision.ops.nms(boxes, scores=torch.tensor([0.5, 0.9, 0.7]), iou_threshold=0.5)
    assert kept.tolist() == [1, 2]


def test_every_library_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    declared = {re.split(r"[\[<>=~! ]", name)[0].lower() for name in [*project["dependencies"], *extras]}
    providers = packages_distributions()
    imported = set()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            imported |= {name.split(".")[0] for name in names}
    imported -= {*sys.stdlib_module_names, "aevb", "hydra_plugins"}
    assert "torch" in imported
    missing = {name: providers.get(name, [name]) for name in imported}
    missing = {name: found for name, found in missing.items() if declared.isdisjoint(map(str.lower, found))}
    assert not missing, "imported, but not declared"
