"""Atomic writing, and safe reading of files of unknown origin."""

import os
import re
import secrets
import socket
import stat
import tempfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from aevb.errors import ConfigError

TEMPORARY = re.compile(r"\..+\.(?P<machine>\w+)-(?P<process>\d+)-\w{8}\.tmp")
OLD_SECONDS = 24 * 60 * 60.0
"""The age at which a temporary file of another machine counts as abandoned."""


def atomic_write(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write `data` to `path` completely or not at all, even in a crash or a loss of power.

    A temporary file in the same folder is written, synced, and renamed; on failure, an existing file stays as it is.
    Text is encoded as UTF-8, with unchanged newlines.
    """
    path = Path(path)
    number = f"{machine()}-{os.getpid()}-{secrets.token_hex(4)}"
    # Not `tempfile`, whose files are private to the user whatever the umask.
    temporary = path.with_name(f".{path.name[:150]}.{number}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None  # instead of the temporary file
        raise


def read_file(path: Path, root: Path | None, max_bytes: int) -> bytes:
    """The content of a file in a folder of unknown origin.

    Args:
        path: The file.
        root: The folder; links out of it are refused. None: the user's own file, with links followed.
        max_bytes: Larger files are refused.

    Raises:
        ConfigError: the file is missing, unreadable, too large, a pipe, a device, or outside of `root`.
    """
    with open_file(path, root, max_bytes) as file:
        return file.read(max_bytes)


def open_file(path: Path, root: Path | None, max_bytes: int) -> BinaryIO:
    """The file of `read_file`, open for reading."""
    try:
        if root is not None:
            require_inside(path, root)
        # An ordinary `open` of a pipe without a writer blocks forever.
        file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size <= max_bytes:
        return file
    file.close()
    is_file = stat.S_ISREG(status.st_mode)
    reason = f"it has {status.st_size:,} bytes, more than {max_bytes:,}" if is_file else "it is not a regular file"
    raise ConfigError(f"{path} cannot be read: {reason}")


def require_inside(path: Path, root: Path) -> None:
    """Raise a `ConfigError` where a path is outside of a folder, directly or by a link."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise ConfigError(f"{path} leads out of {root}: links out of a run folder are not followed")


def require_writable(folder: Path, key: str) -> None:
    """Raise a `ConfigError` where no file can be written to the folder of the setting `key`.

    The folder need not exist, and is not created.
    """
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except (OSError, ValueError) as error:  # ValueError: a null byte
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{key}: {folder} cannot be written: {reason}") from error


def remove_temporaries(folder: str | os.PathLike[str]) -> None:
    """Remove temporary files of killed processes in a folder and below."""
    for path in Path(folder).rglob(".*.tmp"):
        match = TEMPORARY.fullmatch(path.name)
        with suppress(OSError):
            if match and not is_being_written(path, match["machine"], int(match["process"])):
                path.unlink()


def is_being_written(path: Path, of_machine: str, process: int) -> bool:
    """Whether the process of a temporary file may still be writing it."""
    if of_machine != machine():
        return time.time() - path.stat().st_mtime < OLD_SECONDS
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        pass
    return True


def machine() -> str:
    """A name for this machine or container, in which process numbers are unique."""
    return re.sub(r"\W", "_", socket.gethostname())[:40]


def require_own_files(folder: Path) -> None:
    """Raise a `ConfigError` where writing to a folder would write elsewhere.

    This is so for links out of the folder, pipes, devices, and hard links at its top level. The folder itself may be a
    link. Runs in `wandb/` are skipped: they have links to wandb's own log, and are not written to.
    """
    root = os.path.realpath(folder)
    for directory, folders, files in os.walk(root):
        if Path(directory).parent == Path(root, "wandb"):
            folders.clear()
            continue
        for name in (*folders, *files):
            path = Path(directory, name)
            shown = Path(folder) / path.relative_to(root)
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                require_inside(shown, folder)
            elif not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{shown} is not a regular file; remove it so that the run folder can be written")
            elif stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and directory == root:
                raise ConfigError(f"{shown} is a hard link to another file, which would change with it; copy the run")


def stored_size(file: BinaryIO) -> int:
    """The size of the content of an uncompressed zip archive, as torch and NumPy write it.

    Raises:
        ValueError: the archive is invalid, or compressed, and so may be larger in memory than on disk.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise ValueError("it is not a zip archive") from error
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries):
        raise ValueError("it is compressed")
    size = sum(entry.file_size for entry in entries)
    if size > file.seek(0, os.SEEK_END):
        raise ValueError("its parts overlap")
    file.seek(0)
    return size
