"""evaluation.json: what replaces an earlier entry, and damaged files."""

import json

import pytest

from aevb.errors import ConfigError
from aevb.runs.evaluation import add_entry, read_evaluation


def entry(value: float, **fields: object) -> dict[str, object]:
    about = {"estimator": "elbo", "split": "test", "limit": None, "settings": {"num_samples": 5}}
    return about | {"value": value} | fields


def test_entry_replaces_an_earlier_one_with_the_same_identity(tmp_path):
    assert read_evaluation(tmp_path) == {"entries": [], "tasks": []}
    for new in (entry(1.0), entry(2.0, split="val"), entry(3.0, settings={"num_samples": 6}), entry(4.0)):
        add_entry(tmp_path, "entries", new)
    assert [found["value"] for found in read_evaluation(tmp_path)["entries"]] == [2.0, 3.0, 4.0]


def test_infinite_values_become_null(tmp_path):
    add_entry(tmp_path, "entries", entry(float("-inf"), diagnostics={"a": [float("nan"), 1.0]}))
    (found,) = json.loads((tmp_path / "evaluation.json").read_text(), parse_constant=pytest.fail)["entries"]
    assert found["value"] is None
    assert found["diagnostics"] == {"a": [None, 1.0]}


DAMAGED = {
    '{"entries": [': "Expecting value: line 1 column 14 (char 13)",
    "[1]": "the file: Input should be a valid dictionary or instance of Evaluation",
    "3": "the file: Input should be a valid dictionary or instance of Evaluation",
    '{"entries": 3}': "entries: Input should be a valid list",
}


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_results_are_named_and_kept(tmp_path, text):
    file = tmp_path / "evaluation.json"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        add_entry(tmp_path, "entries", entry(1.0))
    assert str(refused.value) == f"{file} cannot be read: {DAMAGED[text]}"
    assert file.read_text() == text
