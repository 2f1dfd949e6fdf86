"""Published files: downloaded, verified, split as they were published. Small files stand in for the real ones."""

import hashlib
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import torch

from aevb.data.module import Split
from aevb.data.published import File, PublishedDataModule, images
from aevb.errors import ConfigError, DownloadError

CONTENT = bytes(range(60))


class Small(PublishedDataModule):
    """Ten datapoints of 2×2 pixels to train on, the last three of them for validation, and five for the test."""

    num_val = 3
    files = (File("part/x.bin", (), "sha256:" + hashlib.sha256(CONTENT).hexdigest(), 100),)

    def read(self, content):
        x = np.frombuffer(content["part/x.bin"], np.uint8).reshape(-1, 2, 2)
        return self.hold_out(images(x[:10], np.arange(10)), images(x[10:], np.arange(5)))


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves tmp_path/served on this machine; returns its URL."""
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "served").mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=tmp_path / "served")

        def log_message(self, *args):
            """Nothing on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        Thread(target=serving.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()


def served(server, monkeypatch):
    monkeypatch.setattr(Small, "files", (Small.files[0]._replace(urls=(f"{server}x.bin",)),))


def test_files_are_downloaded_verified_and_split(tmp_path, server, monkeypatch):
    served(server, monkeypatch)
    (tmp_path / "served" / "x.bin").write_bytes(CONTENT)
    dm = Small(root=tmp_path, batch_size=5)
    dm.prepare_data()
    assert (tmp_path / "Small" / "part" / "x.bin").read_bytes() == CONTENT
    assert [len(split.x) for split in dm.splits] == [7, 3, 5]
    assert dm.splits.val.y.tolist() == [7, 8, 9]
    assert torch.cat([split.x.flatten() for split in dm.splits]).tolist() == list(CONTENT)
    assert dm.shape == (1, 2, 2)


def test_other_content_is_refused_before_it_is_written(tmp_path, server, monkeypatch):
    served(server, monkeypatch)
    (tmp_path / "served" / "x.bin").write_bytes(CONTENT[::-1])
    with pytest.raises(
        DownloadError, match=r"not the published file, its SHA256 differs.*save it as .*/Small/part/x\.bin"
    ):
        Small(root=tmp_path).prepare_data()
    assert not (tmp_path / "Small").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENT[::-1], r"not the published file, its SHA256 differs\); delete it to have it downloaded again$"),
        (bytes(200), r"it has 200 bytes, more than 100\); delete it"),
        (None, r"No such file or directory\); delete it"),
    ],
)
def test_a_file_that_is_not_the_published_one_gets_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "Small" / "part").mkdir(parents=True)
        (tmp_path / "Small" / "part" / "x.bin").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^data: cannot read {tmp_path}/Small/part/x\.bin \(.*{message}"):
        Small(root=tmp_path).setup()


def test_digests_are_of_either_kind():
    for algorithm in ("md5", "sha256"):
        file = File("x", (), f"{algorithm}:{hashlib.new(algorithm, b'right').hexdigest()}", 10)
        assert file.verified(b"right") == b"right"
        with pytest.raises(ValueError, match=f"its {algorithm.upper()} differs"):
            file.verified(b"wrong")


def test_images_have_channels():
    assert images(np.zeros((4, 3, 2), np.uint8)).x.shape == (4, 1, 3, 2)
    split = images(np.zeros((4, 3, 2, 2), np.uint8).transpose(0, 3, 1, 2), np.arange(4, dtype=np.uint8))
    assert split.x.shape == (4, 2, 3, 2)
    assert split.x.is_contiguous()
    assert split.y.dtype == torch.int64
    assert isinstance(split, Split)
