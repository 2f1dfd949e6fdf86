"""Downloads of verified files, by one process at a time."""

import hashlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

from aevb.errors import DownloadError
from aevb.files import atomic_write

log = logging.getLogger("aevb")

_CHUNK = 1 << 16
_TEMPORARY_FAILURES = (408, 425, 429, 500, 502, 503, 504)


def download(
    urls: Sequence[str],
    path: str | os.PathLike[str],
    *,
    accept: Callable[[bytes], bytes],
    max_bytes: int,
    timeout: float = 20,
    deadline: float = 300,
    retries: int = 2,
    pause: float = 1,
    note: str = "",
) -> None:
    """Download a file, unless it exists, from the first of `urls` that has the right content.

    The content is verified in memory and written atomically. Temporary failures (no connection, server errors,
    incomplete transfers) are retried, others (not found, too large, wrong content) are not.

    Args:
        urls: http or https, in order of preference.
        path: The file; its folder is created where it is missing.
        accept: Content → the content to save; raises ValueError if it is wrong.
        max_bytes: Largest accepted content.
        timeout: Seconds to wait for the connection and for each piece.
        deadline: Seconds for the whole response, including its headers.
        retries: Retries of the same URL.
        pause: Seconds before the first retry; doubles with each.
        note: Text after the path in the message that asks to fetch the file by hand.

    Raises:
        DownloadError: no URL has the file, or it cannot be written.
    """

    def fetch(url: str) -> bytes:
        return accept(_fetch(url, max_bytes, timeout, deadline))

    path = Path(path).absolute()
    if path.exists():
        return
    with lock(path):
        if path.exists():
            return
        failures = []
        for url in urls:
            try:
                data = _with_retries(fetch, url, timeout, retries, pause)
            except ValueError as error:
                failures.append(f"{url}: {error}")
                continue
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                return atomic_write(path, data)
            except OSError as error:
                reason = error.strerror or error
                raise DownloadError(
                    f"cannot write {path} ({reason}); set paths.data to a folder that can be written"
                ) from error
    tried = "; ".join(failures) or "no URL is given"
    raise DownloadError(f"could not download {path.name} ({tried}); fetch it by hand and save it as {path}{note}")


def lock(path: Path) -> FileLock:
    """A lock on `path` for processes of this user and machine, in the temporary folder.

    The folder of the data may be on a network file system, and stays free of lock files.
    """
    user = os.getuid() if hasattr(os, "getuid") else ""
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:20]
    return FileLock(Path(tempfile.gettempdir()) / f"aevb-{user}-{name}.lock")


def _with_retries(fetch: Callable[[str], bytes], url: str, timeout: float, retries: int, pause: float) -> bytes:
    """The accepted content of `url`. Raises ValueError with the last reason."""
    log.info("downloading %s from %s", urlsplit(url).path.rpartition("/")[2], urlsplit(url).netloc)
    for attempt in range(retries + 1):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        try:
            return fetch(url)
        except ValueError:  # of `accept`, or an invalid URL, such as a redirect to another scheme
            raise
        except OSError as error:
            cause = _innermost(error)
            reason = f"no answer within {timeout:g} s" if isinstance(cause, TimeoutError) else str(cause) or repr(cause)
    raise ValueError(f"{reason}, {retries + 1} times" if retries else reason)


def _fetch(url: str, max_bytes: int, timeout: float, deadline: float) -> bytes:
    """The content of `url`. Raises OSError if a retry may help, ValueError if not.

    The request runs in a thread that is abandoned at the deadline: a server that sends single bytes never exceeds the
    timeout of the socket.
    """
    import requests  # takes half a second to import

    content, done, end = bytearray(), Future[None](), time.monotonic() + deadline

    def fetch() -> None:
        try:
            with requests.get(url, stream=True, timeout=timeout) as response:
                if not response.ok:
                    is_temporary = response.status_code in _TEMPORARY_FAILURES
                    raise (OSError if is_temporary else ValueError)(f"HTTP {response.status_code} {response.reason}")
                for piece in response.iter_content(_CHUNK):
                    content.extend(piece)
                    if len(content) > max_bytes or time.monotonic() > end:
                        raise ValueError(f"the file has more than the expected {max_bytes} bytes")
            done.set_result(None)
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=fetch, daemon=True).start()
    try:
        done.result(deadline)
    except TimeoutError as error:
        if done.done():
            raise
        raise ValueError(f"only {len(content)} bytes arrived within {deadline:g} s") from error
    return bytes(content)


def _innermost(error: BaseException) -> BaseException:
    """The first error of a chain."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error
