"""Signatures read from source are those of the classes themselves, and torch need not be there."""

import inspect
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from aevb.signatures import UnknownClass, signature_of
from aevb.types import simplified

CONF = Path(__file__).parents[1] / "conf"


def targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from ([node["_target_"]] if "_target_" in node else [])
        for child in node.values():
            yield from targets(child)


TARGETS = {target for file in CONF.rglob("*.yaml") for target in targets(OmegaConf.to_container(OmegaConf.load(file)))}


@pytest.mark.parametrize("target", sorted(target for target in TARGETS if not target.startswith("hydra_plugins")))
def test_arguments_are_those_of_the_class(target):
    module, name = target.rsplit(".", 1)
    found = inspect.signature(getattr(import_module(module), name)).parameters.values()
    signature = signature_of(target)
    assert signature is not None
    positional = {p.name: p for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    assert positional.keys() <= signature.parameters.keys()
    if not any(p.kind == p.VAR_KEYWORD for p in found):
        assert positional.keys() == signature.parameters.keys()
        assert signature.required == {name for name, p in positional.items() if p.default is inspect.Parameter.empty}
    assert not signature.is_open


def test_annotations_of_own_and_other_modules_are_evaluated(tmp_path, monkeypatch):
    (tmp_path / "own_kinds.py").write_text("from typing import Literal\nKind = Literal['a', 'b']\n")
    (tmp_path / "own_parts.py").write_text(
        "import torch\n"
        "from dataclasses import dataclass\n"
        "from own_kinds import Kind as K\n"
        "from missing import Base\n"
        "class Base2:\n"
        "    def __init__(self, scale: float = 1.0): ...\n"
        "class Part(Base2):\n"
        "    def __init__(self, kind: K, module: torch.nn.Module, sizes: 'list[int] | None' = None, **kwargs): ...\n"
        "class Unknown(Base): ...\n"
        "@dataclass\n"
        "class Data:\n"
        "    share: float = 0.5\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from typing import Literal

    part = signature_of("own_parts.Part")
    assert part is not None
    assert part.parameters == {
        "kind": Literal["a", "b"],
        "module": UnknownClass,
        "sizes": list[int] | None,
        "scale": float,
    }
    assert part.required == {"kind", "module"}
    assert not part.is_open
    assert signature_of("own_parts.Unknown").is_open
    assert simplified(signature_of("own_parts.Data").parameters["share"]) is float
    assert signature_of("own_parts.Nothing") is None
    assert signature_of("no_such_package.Nothing") is None


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from aevb.signatures import signature_of; import aevb.apps.command_line\n"
        "assert signature_of('aevb.likelihoods.Gaussian') and signature_of('torch.optim.Adam')\n"
        "print([name for name in ('torch', 'pytorch_lightning', 'wandb', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
