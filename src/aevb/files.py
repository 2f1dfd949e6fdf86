"""Files that are either whole or not there, and files of unknown origin."""

import os
import secrets
import stat
from pathlib import Path
from typing import BinaryIO

from aevb.errors import ConfigError


def atomic_write(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write `data` to `path` so that nobody ever sees half of it, also after a crash or a loss of power.

    The data go into a temporary file in the same folder, which then takes the name `path` in one step. When
    anything fails, what was at `path` before is untouched and the temporary file is removed.

    Args:
        path: the file; its folder must exist. An existing file is replaced.
        data: text is encoded as UTF-8, with newlines as they are.

    Raises:
        OSError: the folder is missing, not writable, or full.
    """
    path = Path(path)
    # Not `tempfile`: its files are private to the user whatever the umask says, and the rename would keep that.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_file(path: Path, root: Path, max_bytes: int) -> bytes:
    """The content of a file in a folder of unknown origin.

    Args:
        path: The file.
        root: The folder; a link that leads out of it is not followed.
        max_bytes: A larger file is not read.

    Raises:
        ConfigError: there is no such file, it cannot be read, is too large, a pipe or a device, or outside of `root`.
    """
    with open_file(path, root, max_bytes) as file:
        return file.read(max_bytes)


def open_file(path: Path, root: Path, max_bytes: int) -> BinaryIO:
    """The file of `read_file`, open for reading."""
    try:
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
