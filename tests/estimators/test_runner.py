"""Chunks, their noise, and evaluations that go on where they were interrupted."""

import json

import pytest
import torch

from aevb.errors import ConfigError
from aevb.estimators import ImportanceSampling
from aevb.estimators.runner import rows_at_once, run, values_per_sample
from aevb.estimators.unfinished import Unfinished
from aevb.runs.evaluation import EvaluationFile
from aevb.vae import VAE

from ..ppca import make_ppca
from ..small import pair, small_model


@pytest.fixture(scope="module")
def ppca():
    return make_ppca(num_data=20)


def test_an_interrupted_evaluation_ends_like_one_that_was_not(ppca, tmp_path):
    model, estimator = VAE.join(ppca.p, ppca.q), ImportanceSampling(num_samples=10)
    whole, _ = run(estimator, model, ppca.x, rows=30)
    unfinished = Unfinished(tmp_path / "evaluation" / "part.npz")

    def interrupt(done: int) -> None:
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(estimator, model, ppca.x, 30, unfinished=unfinished, on_progress=interrupt)
    before, seconds = unfinished.load()
    assert before is not None
    assert len(before.value) == 9
    assert seconds > 0
    progress: list[int] = []
    continued, total = run(estimator, model, ppca.x, 30, unfinished=unfinished, on_progress=progress.append)
    assert progress == [9, 12, 15, 18, 20]
    assert total > seconds
    assert torch.equal(continued.value, whole.value)
    assert torch.equal(continued.variance, whole.variance)
    assert torch.equal(*(e.diagnostics["effective_sample_size"] for e in (continued, whole)))
    unfinished.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_damaged_part_counts_as_none(ppca, tmp_path, content):
    unfinished = Unfinished(tmp_path / "part.npz")
    whole, _ = run(ImportanceSampling(5), VAE.join(ppca.p, ppca.q), ppca.x, 30, unfinished=unfinished)
    unfinished.save(whole, 1.0)
    unfinished.path.write_bytes(unfinished.path.read_bytes()[:300] if content is None else content)
    assert unfinished.load() == (None, 0.0)


def test_noise_depends_on_the_seed(ppca):
    model, estimator = VAE.join(ppca.p, ppca.q), ImportanceSampling(num_samples=10)
    a, b, c = (run(estimator, model, ppca.x, 100, seed)[0].value for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_rows_follow_the_largest_layer():
    p, _ = pair(small_model((1, 4, 4), hidden=50))
    assert values_per_sample(p) == 50
    assert rows_at_once(p, 1000) == 20
    assert rows_at_once(p, 1) == 1
    assert rows_at_once(small_model((3, 20, 20)).p, 12000) == 10
    with pytest.raises(ValueError, match=r"^max_batch_values must be"):
        rows_at_once(p, 0)


def entry(value: float, **fields: object) -> dict[str, object]:
    about = {"estimator": "elbo", "split": "test", "limit": None, "settings": {"num_samples": 5}}
    return about | {"value": value} | fields


def test_a_later_answer_replaces_an_earlier_one_to_the_same_question(tmp_path):
    file = EvaluationFile(tmp_path)
    assert file.read() == {"entries": [], "tasks": []}
    for new in (entry(1.0), entry(2.0, split="val"), entry(3.0, settings={"num_samples": 6}), entry(4.0)):
        file.add("entries", new)
    assert [found["value"] for found in file.read()["entries"]] == [2.0, 3.0, 4.0]


def test_what_json_does_not_know_becomes_null(tmp_path):
    file = EvaluationFile(tmp_path)
    file.add("entries", entry(float("-inf"), diagnostics={"a": [float("nan"), 1.0]}))
    (found,) = json.loads(file.path.read_text(), parse_constant=pytest.fail)["entries"]
    assert found["value"] is None
    assert found["diagnostics"] == {"a": [None, 1.0]}


@pytest.mark.parametrize("text", ['{"entries": [', "[1]", "3"])
def test_damaged_results_are_named_and_kept(tmp_path, text):
    file = EvaluationFile(tmp_path)
    file.path.write_text(text)
    with pytest.raises(ConfigError, match=r"evaluation.json cannot be read: .*; mend or remove it"):
        file.add("entries", entry(1.0))
    assert file.path.read_text() == text
