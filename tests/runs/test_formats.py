"""Files of a run folder: what is wrong with one is said in one line, at no cost, and nothing else happens."""

import json
import os
import time
import zipfile

import pytest
import torch

from aevb.errors import ConfigError, one_line, printable
from aevb.reports.reading import metrics
from aevb.runs.checkpoints import SizeLimit, read_checkpoint
from aevb.runs.evaluation import Evaluation
from aevb.runs.formats import read_json, read_yaml
from aevb.runs.status import Status

NESTED = 100_000
ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))


def refused(read, path, content, *arguments):
    """The message of the `ConfigError` that a reader raises, in time."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    start = time.monotonic()
    with pytest.raises(ConfigError) as error:
        read(path, path.parent, *arguments)
    assert time.monotonic() - start < 10
    message = str(error.value)
    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) < 1000
    assert path.name in message
    return message


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


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"entries": {}}', '{"entries": [1]}', '{"tasks": null}', '{"entries": [{"value": "1"}]}']
)
def test_evaluation(tmp_path, content):
    refused(read_json, tmp_path / "evaluation.json", content, Evaluation)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a: [1,", "line"),
        (ALIASES, "aliases"),
        ("a: !!python/object/apply:os.system [echo]", "tags"),
        ("[" * NESTED + "]" * NESTED, "nested too deeply"),
        ("a: {" * 500 + "}" * 500, "nested too deeply"),
        ("a: " + "9" * 100_000, "cannot be read"),
        ("a: 0x" + "f" * 100, "63 bits"),
        ("1: 2", "key"),
        ('a: "\\e[31m"', "control characters"),
        (b"a: \xff", "not UTF-8"),
        (b"a: \x00", "cannot be read"),
        (b"#" * (300 << 10), "bytes, more than"),
    ],
)
def test_yaml(tmp_path, content, reason):
    assert reason in refused(read_yaml, tmp_path / "config.yaml", content)


@pytest.mark.parametrize(
    "content",
    [
        "epoch,loss\n1,2\n",
        "samples,train/elbo\nmany,1\n",
        "samples,train/elbo\n-1,1\n",
        "samples,train/elbo\n1,high\n",
        "samples,\x1b[31m\n1,1\n",
        "samples,train/elbo\n" + "9" * 100_000 + ",1\n",
        "samples,train/elbo\n1," + "9" * 200_000 + "\n",
        b"samples,\xff\n1,2\n",
    ],
)
def test_metrics(tmp_path, content):
    refused(lambda path, root: metrics(path), tmp_path / "metrics.csv", content)


def test_metrics_without_infinite_and_absurd_values(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("samples,a,b\n1,1e400,2\n2,nan,\n3,1e300,\n4,-5,\n5")
    assert metrics(path) == {"a": [(4, -5.0)], "b": [(1, 2.0)]}


READERS = [
    ("status.json", lambda path, root: read_json(path, root, Status)),
    ("config.yaml", read_yaml),
    ("metrics.csv", lambda path, root: metrics(path)),
    ("best.ckpt", read_checkpoint),
]


@pytest.mark.parametrize(("name", "read"), READERS, ids=[name for name, _ in READERS])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link out", "device", "link to itself", "missing"])
def test_files_outside_of_the_folder_are_refused(tmp_path, name, read, kind):
    folder = tmp_path / "run"
    folder.mkdir()
    path = folder / name
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link out":
        (tmp_path / "secret").write_text("SECRET")
        path.symlink_to(tmp_path / "secret")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "link to itself":
        path.symlink_to(path)
    elif name == "metrics.csv":
        assert metrics(path) == {}
        return
    with pytest.raises(ConfigError) as error:
        read(path, folder)
    assert "SECRET" not in str(error.value)
    assert name in str(error.value)


def save(path, content):
    torch.save(content, path)
    return path


def test_checkpoint_that_is_compressed_or_larger_than_its_file_is_refused(tmp_path):
    path = save(tmp_path / "best.ckpt", {"state_dict": {"w": torch.zeros(1 << 20)}, "samples": 1})
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(ConfigError, match="compressed"):
        read_checkpoint(path, tmp_path)
    save(path, {"state_dict": {"w": torch.zeros(1).expand(1 << 40)}, "samples": 1})
    with pytest.raises(ConfigError, match="larger than what is stored"):
        read_checkpoint(path, tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"samples": 1},
        {"state_dict": {}},
        {"state_dict": {}, "samples": -1},
        {"state_dict": {}, "samples": "1"},
        {"state_dict": {"w": 1}, "samples": 1},
        {"state_dict": [], "samples": 1},
    ],
)
def test_checkpoint_of_something_else_is_refused(tmp_path, content):
    with pytest.raises(ConfigError, match="is damaged") as error:
        read_checkpoint(save(tmp_path / "best.ckpt", content), tmp_path)
    assert "\n" not in str(error.value)


def test_model_that_is_larger_than_its_weights_is_not_built():
    weights = {"w": torch.zeros(10)}
    with SizeLimit(weights):
        torch.nn.Linear(100, 100)
    with pytest.raises(ValueError, match="larger than its checkpoint"), SizeLimit(weights):
        torch.nn.Linear(10_000, 10_000)
    with pytest.raises(ValueError, match="larger than its checkpoint"), SizeLimit(weights):
        torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(1_000_000))


def test_text_is_printable_and_errors_are_one_line():
    assert printable("a\tb\né\x1b[31m\x07\x9b\u202e\ud800") == "a\tb\né\\x1b[31m\\x07\\x9b\\u202e\\ud800"
    assert one_line("a\n  b\r") == "a b\\r"
    assert str(ConfigError("a\n\x1b]0;title\x07")) == "a \\x1b]0;title\\x07"
    assert len(one_line("x" * 10**6)) < 3000
