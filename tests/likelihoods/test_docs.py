"""docs/likelihoods.md: its example runs, and its table is complete."""

import inspect
import re
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from aevb import likelihoods

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "likelihoods.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_own_likelihood_takes_ten_lines_and_learns(capsys: pytest.CaptureFixture[str]) -> None:
    definition, use = blocks("python")
    lines = [line for line in definition.splitlines() if line.strip() and "import" not in line and '"""' not in line]
    assert len(lines) <= 10
    namespace: dict[str, object] = {"__name__": "heads"}
    exec(compile(definition + use, "docs/likelihoods.md", "exec"), namespace)
    elbos = namespace["elbos"]
    assert isinstance(elbos, list)
    assert elbos[-1] > elbos[0] + 10
    assert re.fullmatch(r"ELBO -\d+ -> -\d+ nats\n", capsys.readouterr().out)


def test_own_likelihood_is_made_by_its_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aevb.config import instantiate

    (tmp_path / "heads.py").write_text(blocks("python")[0])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "heads", raising=False)
    (config,) = blocks("yaml")
    head = instantiate(OmegaConf.create(config))((5,), (1, 2, 2))
    assert type(head).__name__ == "Geometric"
    monkeypatch.delitem(sys.modules, "heads", raising=False)


def test_table_has_every_head_and_all_its_settings() -> None:
    rows = dict(re.findall(r"^\| `\w+` \| `(\w+)` \|(.*)\|$", PAGE, flags=re.MULTILINE))
    heads = {name for name in likelihoods.__all__ if not inspect.isabstract(getattr(likelihoods, name))}
    heads -= {"PerStep", "Recurrent", "RecurrentTokens"}  # of sequences
    assert set(rows) == heads
    for name, row in rows.items():
        named = set(inspect.signature(getattr(likelihoods, name)).parameters) - {"in_shape", "data_shape"}
        assert set(re.findall(r"`(\w+)`", row.split("|")[1])) == named, name
    for name, support in re.findall(r"^\| `\w+` \| `(\w+)` \| ([^|]*) \|", PAGE, flags=re.MULTILINE):
        head = getattr(likelihoods, name)((3,), (1, 1, 1))
        described = likelihoods.base.describe(head.support)
        assert support in (described, described.removeprefix("the ").removesuffix(" numbers"), "levels"), name
        assert (support == "levels") == hasattr(head, "levels")
