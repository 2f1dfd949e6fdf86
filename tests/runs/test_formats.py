"""Files of a run folder: what is wrong with one is said in one line, at no cost, and nothing else happens."""

import os

import pytest

from aevb.errors import ConfigError
from aevb.reports.reading import metrics
from aevb.runs.checkpoints import read_checkpoint
from aevb.runs.evaluation import Evaluation
from aevb.runs.formats import read_json, read_yaml
from aevb.runs.status import Status

from .reading import NESTED, refused

ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))


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
