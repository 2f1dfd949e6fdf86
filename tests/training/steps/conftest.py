"""What the tests of steps share."""

import pytest

from aevb.training.steps import compiled, verified


@pytest.fixture(autouse=True)
def short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified, "WARM_UP", 3)


@pytest.fixture(autouse=True)
def compile_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs here end before a compiler does."""
    monkeypatch.setattr(compiled, "allowed", lambda step: False)
