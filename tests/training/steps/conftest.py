"""What the tests of steps share."""

import pytest

from aevb.training.steps import verified


@pytest.fixture(autouse=True)
def short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified, "WARM_UP", 3)
