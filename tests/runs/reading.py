"""Reading invalid files."""

import time

import pytest

from aevb.errors import ConfigError

NESTED = 100_000


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
