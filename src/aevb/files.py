"""Files that are either whole or not there."""

import os
import secrets
from pathlib import Path


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
