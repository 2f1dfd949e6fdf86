"""Files from the Web: whole, verified, and fetched by one process at a time."""

import hashlib
import os
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from filelock import FileLock
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from aevb.errors import DownloadError
from aevb.files import atomic_write

_CHUNK = 1 << 16
_WORTH_ANOTHER_TRY = (408, 425, 429, 500, 502, 503, 504)


class _GiveUpError(Exception):
    """What this URL gives will not do, also not at a second try."""


def download(
    urls: Sequence[str],
    path: str | os.PathLike[str],
    *,
    verify: Callable[[bytes], object],
    max_bytes: int,
    timeout: float = 20,
    deadline: float = 300,
    retries: int = 2,
    pause: float = 1,
) -> None:
    """Fetch a file from the first of `urls` that gives the right one. Does nothing if the file is there.

    Nothing is written before the whole file has come and is verified, and then in one step, so a download that fails
    or is interrupted leaves no trace. The file is held in memory meanwhile. A URL is tried again after a failure that
    may pass (no connection, a server's error, a transfer cut short), and given up at once for any other (not
    found, too large, wrong content).

    Args:
        urls: http or https, in the order of preference.
        path: the file; its folder is made where missing.
        verify: raises ValueError if the content is not what it should be.
        max_bytes: give up on a file that is larger.
        timeout: seconds to wait for the connection, and then for each next piece.
        deadline: seconds for the whole file, against a server that sends a little for ever.
        retries: further tries of the same URL.
        pause: seconds before the second try; doubles with each.

    Raises:
        DownloadError: no URL gave the file, or it cannot be written.
    """
    path = Path(path).absolute()
    if path.exists():
        return
    with lock(path):
        if path.exists():
            return
        failures = []
        for url in urls:
            try:
                data = _fetch_with_retries(url, verify, max_bytes, timeout, deadline, retries, pause)
            except _GiveUpError as error:
                failures.append(f"{url}: {error}")
                continue
            _save(path, data)
            return
    tried = "; ".join(failures) or "no URL is given"
    raise DownloadError(f"could not download {path.name} ({tried}); fetch it by hand and save it as {path}")


def lock(path: Path) -> FileLock:
    """A lock for those processes of this user that would make `path`, wherever they run on this machine.

    It lies in the folder for temporary files, so that nothing stays beside the data, and the data may be on a network.
    """
    user = os.getuid() if hasattr(os, "getuid") else ""
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:20]
    return FileLock(Path(tempfile.gettempdir()) / f"aevb-{user}-{name}.lock")


def _fetch_with_retries(
    url: str,
    verify: Callable[[bytes], object],
    max_bytes: int,
    timeout: float,
    deadline: float,
    retries: int,
    pause: float,
) -> bytes:
    """The verified content of `url`. Raises _GiveUpError with the last reason."""
    for attempt in range(retries + 1):
        try:
            data = _fetch(url, max_bytes, timeout, deadline)
            verify(data)
            return data
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code} {error.reason}"
            if error.code not in _WORTH_ANOTHER_TRY:
                raise _GiveUpError(reason) from error
        except ValueError as error:
            raise _GiveUpError(str(error)) from error
        except TimeoutError:
            reason = f"no answer within {timeout:g} s"
        except (OSError, HTTPException) as error:
            cause = getattr(error, "reason", error)
            reason = f"no answer within {timeout:g} s" if isinstance(cause, TimeoutError) else str(cause) or repr(cause)
        if attempt < retries:
            time.sleep(pause * 2**attempt)
    raise _GiveUpError(f"{reason}, {retries + 1} times" if retries else reason)


def _fetch(url: str, max_bytes: int, timeout: float, deadline: float) -> bytes:
    """The content of `url`. Raises OSError if another try may help, _GiveUpError if not."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise _GiveUpError("only http and https URLs are supported")
    end = time.monotonic() + deadline
    request = urllib.request.Request(url, headers={"User-Agent": "aevb"})
    with _opener().open(request, timeout=timeout) as response, _progress() as progress:
        size = _content_length(response)
        if size is not None and size > max_bytes:
            raise _GiveUpError(f"the file has {size} bytes, at most {max_bytes} were expected")
        name = urllib.parse.urlsplit(url).path.rpartition("/")[2]
        task = progress.add_task(f"{name} from {urllib.parse.urlsplit(url).netloc}", total=size)
        data = bytearray()
        while piece := response.read1(_CHUNK):
            data += piece
            progress.update(task, completed=len(data))
            if len(data) > max_bytes:
                raise _GiveUpError(f"the file has more than the {max_bytes} bytes that were expected")
            if time.monotonic() > end:
                raise _GiveUpError(f"only {len(data)} bytes came within {deadline:g} s")
    if size is not None and len(data) < size:
        raise OSError(f"the transfer stopped after {len(data)} of {size} bytes")
    return bytes(data)


def _content_length(response: HTTPResponse) -> int | None:
    value = response.headers.get("Content-Length", "")
    return int(value) if value.isdecimal() else None


def _opener() -> urllib.request.OpenerDirector:
    """Opens http and https and nothing else, also after a redirect; `urllib`'s own opener also reads local files."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _progress() -> Progress:
    """A bar that is seen in a terminal, and nowhere else, and is gone when the download is over."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    progress = Progress(*columns, transient=True)
    progress.disable = not progress.console.is_terminal
    return progress


def _save(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, data)
    except OSError as error:
        raise DownloadError(
            f"cannot write {path} ({error.strerror or error}); set paths.data to a folder that can be written"
        ) from error
