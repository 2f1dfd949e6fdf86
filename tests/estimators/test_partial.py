"""Evaluations that go on where they were interrupted."""

import pytest
import torch

from aevb.data import Split
from aevb.estimators import ImportanceSampling
from aevb.estimators.partial import PartialEstimates
from aevb.estimators.runner import run
from aevb.vae import VAE

from ..ppca import make_ppca


@pytest.fixture(scope="module")
def ppca():
    return make_ppca(num_data=20)


def test_interrupted_evaluation_has_the_values_of_an_uninterrupted_one(ppca, tmp_path):
    model, estimator = VAE.join(ppca.p, ppca.q), ImportanceSampling(num_samples=10)
    whole, _ = run(estimator, model, Split(ppca.x), rows=30)
    partial = PartialEstimates(tmp_path / "evaluation" / "part.npz")

    def interrupt(done: int) -> None:
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(estimator, model, Split(ppca.x), 30, partial=partial, on_progress=interrupt)
    before, seconds = partial.load()
    assert before is not None
    assert len(before.value) == 9
    assert seconds > 0
    progress: list[int] = []
    continued, total = run(estimator, model, Split(ppca.x), 30, partial=partial, on_progress=progress.append)
    assert progress == [9, 12, 15, 18, 20]
    assert total > seconds
    assert torch.equal(continued.value, whole.value)
    assert torch.equal(continued.variance, whole.variance)
    assert torch.equal(*(e.diagnostics["effective_sample_size"] for e in (continued, whole)))
    partial.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_damaged_partial_estimates_are_ignored(ppca, tmp_path, content):
    partial = PartialEstimates(tmp_path / "part.npz")
    whole, _ = run(ImportanceSampling(5), VAE.join(ppca.p, ppca.q), Split(ppca.x), 30, partial=partial)
    partial.save(whole, 1.0)
    partial.path.write_bytes(partial.path.read_bytes()[:300] if content is None else content)
    assert partial.load() == (None, 0.0)
