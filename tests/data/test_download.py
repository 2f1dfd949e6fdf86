"""Downloads from a server on this machine that does everything wrong that a server can."""

import gzip
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from aevb.data import MNIST, FreyFace
from aevb.data import download as module
from aevb.data.download import download
from aevb.data.mnist import PARTS
from aevb.errors import ConfigError, DownloadError

RIGHT = b"the right bytes" * 20_000
Answer = Callable[[BaseHTTPRequestHandler], None]


def answer(body: bytes, status: int = 200, length: int | None = None) -> Answer:
    def respond(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        request.end_headers()
        request.wfile.write(body)

    return respond


def without_length(body: bytes) -> Answer:
    def respond(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(body)

    return respond


def redirect(url: str) -> Answer:
    def respond(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", url)
        request.end_headers()

    return respond


def stall(after: bytes) -> Answer:
    """Promises the right bytes, sends some, and then nothing."""

    def respond(request: BaseHTTPRequestHandler) -> None:
        answer(after, length=len(RIGHT))(request)
        request.wfile.flush()
        request.server.released.wait(30)

    return respond


def drip(request: BaseHTTPRequestHandler, in_headers: bool = False) -> None:
    """A little at a time, for ever, of the content or of a line of the headers."""
    request.send_response(200)
    if in_headers:
        request.flush_headers()
    else:
        request.end_headers()
    while not request.server.released.wait(0.02):
        request.wfile.write(b".")
        request.wfile.flush()


def slow(request: BaseHTTPRequestHandler) -> None:
    """The right bytes, in pieces with pauses."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(RIGHT)))
    request.end_headers()
    for start in range(0, len(RIGHT), 60_000):
        request.wfile.write(RIGHT[start : start + 60_000])
        request.wfile.flush()
        time.sleep(0.05)


class Server(ThreadingHTTPServer):
    """Gives the `answers` one after the other, and the last one for ever; counts the requests."""

    def __init__(self, *answers: Answer) -> None:
        server = self
        self.requests = 0
        self.released = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                chosen = answers[min(server.requests, len(answers) - 1)]
                server.requests += 1
                try:
                    chosen(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *args: object) -> None:
                """Nothing on the terminal."""

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/data/file.mat"


@contextmanager
def serving(*answers: Answer) -> Iterator[Server]:
    with Server(*answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()


def accept(data: bytes) -> bytes:
    if data != RIGHT:
        raise ValueError("not the right bytes")
    return data


def get(tmp_path: Path, *urls: str, **kwargs) -> Path:
    path = tmp_path / "folder" / "file.mat"
    options = {"timeout": 5, "pause": 0.01, "max_bytes": 10**6, "accept": accept}
    download(urls, path, **(options | kwargs))
    return path


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


def test_verified_content_is_saved_as_the_only_file(tmp_path):
    with serving(answer(RIGHT)) as server:
        path = get(tmp_path, server.url)
        assert path.read_bytes() == RIGHT
        assert [p.name for p in tmp_path.rglob("*")] == ["folder", "file.mat"]
        get(tmp_path, server.url)
        assert server.requests == 1


def test_response_without_a_length_is_accepted(tmp_path):
    with serving(without_length(RIGHT)) as server:
        assert get(tmp_path, server.url).read_bytes() == RIGHT


def test_a_slow_server_is_waited_for(tmp_path):
    with serving(slow) as server:
        assert get(tmp_path, server.url, timeout=1).read_bytes() == RIGHT


@pytest.mark.parametrize(
    "first",
    [
        answer(b"", 500),
        answer(b"", 503),
        answer(b"", 429),
        answer(RIGHT[:1000], length=len(RIGHT)),
        answer(b"", length=len(RIGHT)),
        stall(RIGHT[:1000]),
    ],
    ids=["500", "503", "429", "truncated", "closed", "stalled"],
)
def test_temporary_failure_is_retried(tmp_path, first):
    with serving(first, answer(RIGHT)) as server:
        assert get(tmp_path, server.url, timeout=0.8).read_bytes() == RIGHT
        assert server.requests == 2


@pytest.mark.parametrize(
    ("bad", "reason", "requests"),
    [
        (answer(b"", 404), "HTTP 404 Not Found", 1),
        (answer(b"", 403), "HTTP 403 Forbidden", 1),
        (answer(b"", 500), "HTTP 500 Internal Server Error, 3 times", 3),
        (answer(b"<html>welcome</html>"), "not the right bytes", 1),
        (without_length(RIGHT[:-1]), "not the right bytes", 1),
        (answer(RIGHT[:1000], length=len(RIGHT)), "IncompleteRead(1000 bytes read, 299000 more expected), 3 times", 3),
        (answer(b"x" * 2_000_000), "the file has more than the expected 1000000 bytes", 1),
        (without_length(b"x" * 2_000_000), "the file has more than the expected 1000000 bytes", 1),
        (stall(b""), "no answer within 0.8 s, 3 times", 3),
        (stall(RIGHT[:70_000]), "no answer within 0.8 s, 3 times", 3),
        (redirect("file:///etc/hostname"), "No connection adapters were found for 'file:///etc/hostname'", 1),
        (redirect("ftp://127.0.0.1/file.mat"), "No connection adapters were found for 'ftp://127.0.0.1/file.mat'", 1),
    ],
    ids=lambda value: value.split(",")[0].replace(" ", "-") if isinstance(value, str) else "",
)
def test_invalid_url_is_reported(tmp_path, bad, reason, requests):
    with serving(bad) as server:
        with pytest.raises(DownloadError) as error:
            get(tmp_path, server.url, timeout=0.8)
        assert server.requests == requests
    message = str(error.value)
    assert message.startswith(f"could not download file.mat ({server.url}: {reason}")
    assert message.endswith(f"); fetch it by hand and save it as {tmp_path}/folder/file.mat")
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []
    # The next in the list is asked.
    with serving(bad) as server, serving(answer(RIGHT)) as mirror:
        assert get(tmp_path, server.url, mirror.url, timeout=0.8).read_bytes() == RIGHT


def drip_redirects(request: BaseHTTPRequestHandler) -> None:
    """One redirect after the other, each after a while."""
    request.server.released.wait(0.1)
    redirect(f"{request.path}x")(request)


@pytest.mark.parametrize("bad", [drip, partial(drip, in_headers=True), drip_redirects])
def test_server_that_sends_single_bytes_meets_the_deadline(tmp_path, bad):
    with serving(bad) as server:
        start = time.monotonic()
        with pytest.raises(DownloadError, match=r"only \d+ bytes arrived within 0.5 s"):
            get(tmp_path, server.url, deadline=0.5)
        assert time.monotonic() - start < 5
    assert list(tmp_path.iterdir()) == []


def test_decompression_bomb_is_refused(tmp_path):
    def bomb(request: BaseHTTPRequestHandler) -> None:
        packed = gzip.compress(bytes(50_000_000))
        request.send_response(200)
        request.send_header("Content-Encoding", "gzip")
        request.send_header("Content-Length", str(len(packed)))
        request.end_headers()
        request.wfile.write(packed)

    with serving(bomb) as server, pytest.raises(DownloadError, match="more than the expected 1000000 bytes"):
        get(tmp_path, server.url)


def test_all_urls_are_named_in_the_message(tmp_path):
    with serving(answer(b"", 404)) as one, serving(answer(b"wrong")) as two, pytest.raises(DownloadError) as error:
        get(tmp_path, one.url, two.url, "file:///etc/hostname", "nonsense")
    for part in (
        f"{one.url}: HTTP 404 Not Found; ",
        f"{two.url}: not the right bytes; ",
        "file:///etc/hostname: No connection adapters were found for 'file:///etc/hostname'; ",
        "nonsense: Invalid URL 'nonsense': No scheme supplied. Perhaps you meant https://nonsense?)",
    ):
        assert part in str(error.value)
    with pytest.raises(DownloadError, match="no URL is given"):
        get(tmp_path)


def test_no_server(tmp_path):
    with serving(answer(RIGHT)) as server:
        url = server.url
    with pytest.raises(DownloadError, match=r"refused.*, 2 times"):
        get(tmp_path, url, retries=1)


def test_the_pauses_between_tries_double(tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    with serving(answer(b"", 500)) as server, pytest.raises(DownloadError):
        get(tmp_path, server.url, retries=3, pause=2)
    assert pauses == [2, 4, 8]


def test_redirects_are_followed(tmp_path):
    with serving(answer(RIGHT)) as server, serving(redirect(server.url)) as first:
        assert get(tmp_path, first.url).read_bytes() == RIGHT


# Loads the module by itself: the package would load torch first, in each process.
SCRIPT = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("download", {module.__file__!r})
download = importlib.util.module_from_spec(spec)
spec.loader.exec_module(download)
download.download([sys.argv[1]], sys.argv[2], accept=bytes, max_bytes=10**6)
"""


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_download_leaves_no_file(tmp_path, signal_):
    with serving(stall(RIGHT[:70_000])) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, server.url, tmp_path / "folder" / "file.mat"],
            stderr=subprocess.PIPE,
            env=os.environ | {"no_proxy": "*"},
        )
        while not server.requests and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal_)
        _, errors = process.communicate(timeout=100)
    assert process.returncode in (-signal_, 130), errors
    assert list(tmp_path.iterdir()) == []


def test_only_one_of_several_processes_downloads(tmp_path):
    path = tmp_path / "folder" / "file.mat"
    with serving(slow) as server:
        command = [sys.executable, "-c", SCRIPT, server.url, path]
        processes = [subprocess.Popen(command, env=os.environ | {"no_proxy": "*"}) for _ in range(3)]
        assert [process.wait(60) for process in processes] == [0, 0, 0]
        assert server.requests == 1
    assert path.read_bytes() == RIGHT


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "folder").write_text("a file where the folder should be")
    message = r"cannot write .*folder/file\.mat .*; set paths\.data to a folder that can be written"
    with serving(answer(RIGHT)) as server, pytest.raises(DownloadError, match=message):
        get(tmp_path, server.url)


FOLDER = os.environ.get("AEVB_DATA_DIR")
real_data = pytest.mark.skipif(not FOLDER, reason="set AEVB_DATA_DIR to the folder with MNIST and FreyFace")


@real_data
def test_frey_face_is_downloaded_and_verified(tmp_path):
    file = Path(FOLDER, "FreyFace/frey_rawface.mat").read_bytes()
    changed = bytearray(file)
    changed[-1000] ^= 1
    with serving(answer(bytes(changed))) as wrong, serving(answer(file)) as right:
        dm = FreyFace(root=tmp_path, urls=[wrong.url, right.url])
        dm.prepare_data()
        assert dm.train_size == 1565
        assert wrong.requests == right.requests == 1
        assert [p.name for p in tmp_path.rglob("*")] == ["FreyFace", "frey_rawface.mat"]
        dm = FreyFace(root=tmp_path / "other", urls=[wrong.url])
        with pytest.raises(DownloadError, match=r"not the published Frey Face pixels.*/frey_rawface\.mat$"):
            dm.prepare_data()
    assert not (tmp_path / "other").exists()


@pytest.fixture
def small_mnist(monkeypatch):
    """Four small files in place of MNIST's; returns them by name, packed."""
    content = {name: f"{name}, unpacked".encode() for name in PARTS}
    monkeypatch.setattr(MNIST, "files", tuple(
        file._replace(digest=f"sha256:{hashlib.sha256(small).hexdigest()}", max_bytes=20_000)
        for file, small in zip(MNIST.files, content.values(), strict=True)
    ))  # fmt: skip
    return {f"{name}.gz": gzip.compress(file) for name, file in content.items()}


def served(monkeypatch, server: Server) -> str:
    """Let MNIST's files be those of a server; returns the URL of their folder."""
    url = server.url.removesuffix("file.mat")
    monkeypatch.setattr(MNIST, "files", tuple(
        file._replace(urls=(f"{url}{name}.gz",)) for file, name in zip(MNIST.files, PARTS, strict=True)
    ))  # fmt: skip
    return url


def by_name(files: dict[str, bytes]) -> Answer:
    def respond(request: BaseHTTPRequestHandler) -> None:
        answer(files[request.path.rpartition("/")[2]])(request)

    return respond


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (answer(b"", 404), "HTTP 404 Not Found"),
        (answer(b"wrong"), "not a gzip file: .*"),
        (answer(gzip.compress(b"wrong")), "not the published file, its SHA256 differs"),
        (answer(gzip.compress(bytes(10**7))), "not the published file, its SHA256 differs"),
    ],
    ids=["404", "wrong", "other", "bomb"],
)
def test_failed_mnist_download_gives_the_remedy_in_one_line(tmp_path, monkeypatch, small_mnist, bad, reason):
    with serving(bad) as server:
        url = served(monkeypatch, server)
        with pytest.raises(DownloadError) as error:
            MNIST(root=tmp_path / "data").prepare_data()
        assert server.requests == 1
    name = "train-images-idx3-ubyte"
    assert re.fullmatch(
        rf"could not download {name} \({url}{name}\.gz: {reason}\); fetch it by hand and save it as "
        rf"{tmp_path}/data/MNIST/raw/{name}, unpacked",
        str(error.value),
    )
    assert list(tmp_path.iterdir()) == []


def test_mnist_is_downloaded_and_unpacked(tmp_path, monkeypatch, small_mnist):
    with serving(by_name(small_mnist)) as server:
        served(monkeypatch, server)
        MNIST(root=tmp_path).prepare_data()
        assert server.requests == 4
        MNIST(root=tmp_path).prepare_data()
        assert server.requests == 4
    raw = tmp_path / "MNIST" / "raw"
    assert {path.name: path.read_text() for path in raw.iterdir()} == {name: f"{name}, unpacked" for name in PARTS}
    assert [path.name for path in tmp_path.iterdir()] == ["MNIST"]


@real_data
def test_existing_data_are_read_from_a_read_only_folder(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a lock or a file was made")

    monkeypatch.setattr("aevb.data.download.lock", refuse)
    monkeypatch.setattr("aevb.data.download.atomic_write", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    for dm in (MNIST(root=FOLDER), FreyFace(root=FOLDER, urls=["http://127.0.0.1:1/"])):
        dm.prepare_data()
        dm.setup()


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("data", [FreyFace, MNIST])
def test_pipe_does_not_block(tmp_path, make, data):
    for file in ("FreyFace/frey_rawface.mat", "MNIST/raw/train-images-idx3-ubyte"):
        (tmp_path / file).parent.mkdir(parents=True)
        make(tmp_path / file)
    with pytest.raises(ConfigError, match=r"^data: cannot read .*(.*not a regular file|Is a directory)"):
        data(root=tmp_path).setup()
