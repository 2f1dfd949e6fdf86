"""Files that are either whole or not there, and files of unknown origin."""

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
"""A temporary file of another machine that is older was left by a process that is gone."""


def atomic_write(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write `data` to `path` so that nobody ever sees half of it, also after a crash or a loss of power.

    The data go into a temporary file in the same folder, which is then renamed. Where this fails, what was at `path`
    before is untouched. Text is encoded as UTF-8, with newlines as they are.
    """
    path = Path(path)
    number = f"{machine()}-{os.getpid()}-{secrets.token_hex(4)}"
    # Not `tempfile`: its files are private to the user whatever the umask says, and the rename would keep that.
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
            error.filename, error.filename2 = str(path), None  # not the temporary file's name
        raise


def read_file(path: Path, root: Path | None, max_bytes: int) -> bytes:
    """The content of a file in a folder of unknown origin.

    Args:
        path: The file.
        root: The folder; a link that leads out of it is not followed. None: the user's own file, wherever it is.
        max_bytes: A larger file is not read.

    Raises:
        ConfigError: there is no such file, it cannot be read, is too large, a pipe or a device, or outside of `root`.
    """
    with open_file(path, root, max_bytes) as file:
        return file.read(max_bytes)


def open_file(path: Path, root: Path | None, max_bytes: int) -> BinaryIO:
    """The file of `read_file`, open for reading."""
    try:
        if root is not None:
            require_inside(path, root)
        # A pipe without a writer blocks an ordinary `open` for ever.
        file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size <= max_bytes:
        return file
    file.close()
    is_file = stat.S_ISREG(status.st_mode)
    reason = f"it has {status.st_size:,} bytes, more than {max_bytes:,}" if is_file else "it is no regular file"
    raise ConfigError(f"{path} cannot be read: {reason}")


def require_inside(path: Path, root: Path) -> None:
    """Raise a `ConfigError` where a path is, or leads by a link, out of a folder."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise ConfigError(f"{path} leads out of {root}: links out of a run folder are not followed")


def require_writable(folder: Path, key: str) -> None:
    """Raise a `ConfigError` where no file can be written in the folder that the setting `key` names.

    The folder need not exist, and is not made.
    """
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except (OSError, ValueError) as error:  # ValueError: a null byte
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{key}: {folder} cannot be written: {reason}") from error


def remove_temporaries(folder: str | os.PathLike[str]) -> None:
    """Remove temporary files of killed processes, in a folder and below."""
    for path in Path(folder).rglob(".*.tmp"):
        match = TEMPORARY.fullmatch(path.name)
        with suppress(OSError):
            if match and not is_being_written(path, match["machine"], int(match["process"])):
                path.unlink()


def is_being_written(path: Path, of_machine: str, process: int) -> bool:
    """Whether the process that made a temporary file may still write it."""
    if of_machine == machine():
        return is_alive(process)
    return time.time() - path.stat().st_mtime < OLD_SECONDS


def machine() -> str:
    """A name for this machine or container, within which a process number means one process."""
    return re.sub(r"\W", "_", socket.gethostname())[:40]


def is_alive(process: int) -> bool:
    """Whether a process of this number runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def require_own_files(folder: Path) -> None:
    """Raise a `ConfigError` where writing in a folder would write elsewhere.

    It would through a link that leads out of the folder, a pipe or a device, or a file at the top with a second name.
    The folder itself may be a link. Earlier attempts in `wandb/` have links to wandb's own log, and are not written to.
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
                raise ConfigError(f"{shown} is no regular file; remove it to have the run folder written to")
            elif stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and directory == root:
                raise ConfigError(
                    f"{shown} is a hard link to a file elsewhere, which would change with it; copy the run"
                )


def stored_size(file: BinaryIO) -> int:
    """The bytes in a zip archive that must not be compressed, as torch and NumPy write it: else it may inflate.

    Raises:
        ValueError: the file is no such archive.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise ValueError("it is no zip archive") from error
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries):
        raise ValueError("it is compressed")
    size = sum(entry.file_size for entry in entries)
    if size > file.seek(0, os.SEEK_END):
        raise ValueError("its parts overlap")
    file.seek(0)
    return size
