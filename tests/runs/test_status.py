"""status.json: its types, and what is refused."""

import json

import pytest

from aevb.runs.formats import read_json
from aevb.runs.status import Status

from .reading import NESTED, refused


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "cannot be read"),
        ("null", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"healthy": true}', "status.json of another program"),
        ('{"state": "dancing"}', "state: "),
        ('{"state": null}', "state: "),
        ('{"state": ["running"]}', "state: "),
        ('{"state": "running", "samples": "7"}', "samples: "),
        ('{"state": "running", "samples": -1}', "samples: "),
        ('{"state": "running", "samples": 1.5}', "samples: "),
        ('{"state": "running", "samples": 99999999999999999999}', "63 bits"),
        ('{"state": "running", "samples": ' + "9" * 100_000 + "}", "cannot be read"),
        ('{"state": "running", "results": [1]}', "results: "),
        ('{"state": "running", "results": {"test/elbo": "high"}}', "results.test/elbo: "),
        ('{"state": "running", "results": {"state": 1}}', "results.state"),
        ('{"state": "running", "id": "../../elsewhere"}', "id: "),
        ('{"state": "running", "error": {"a": 1}}', "error: "),
        ('{"state": "running", "x": ' + "[" * NESTED + "]" * NESTED + "}", "nested too deeply"),
        (b'{"state": "\xff"}', "not UTF-8"),
        ('{"state": "\\u001b[31mred"}', "state: "),
        (b" " * (9 << 20), "bytes, more than"),
    ],
)
def test_status(tmp_path, content, reason):
    assert reason in refused(read_json, tmp_path / "status.json", content, Status)


def test_status_is_read_without_infinite_values_and_control_characters(tmp_path):
    status = {"state": "finished", "samples": 10, "results": {"test/elbo": -1.5, "val/elbo": None}, "more": [1, "x"]}
    path = tmp_path / "status.json"
    path.write_text(json.dumps(status))
    assert read_json(path, tmp_path, Status) == status
    path.write_text('{"state": "failed", "error": "\\u001b[2J", "results": {"test/elbo": NaN, "val/elbo": 1e400}}')
    found = read_json(path, tmp_path, Status)
    assert found["error"] == "\\x1b[2J"
    assert found["results"] == {"test/elbo": None, "val/elbo": None}
