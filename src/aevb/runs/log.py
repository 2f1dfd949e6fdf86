"""train.log: everything that was printed, as lines of plain text."""

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from aevb.errors import ConfigError, Stopped, last_line
from aevb.runs.status import now

CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)
"""Sequences that move a terminal's cursor or set its colours, and other control characters; not \\r, \\n and tabs."""


@contextmanager
def logged(file: Path, command: str) -> Iterator[None]:
    """Append what is printed, logged and warned of inside the context to a file.

    Of a line that is redrawn, such as a progress bar, the last state is kept. A full disk costs lines of the file, not
    the run.

    Args:
        file: train.log; its folder is there.
        command: Goes to the head of what this process writes.
    """
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o644)

    def write(line: str) -> None:
        with suppress(OSError):
            os.write(descriptor, f"{line}\n".encode(errors="replace"))

    write(f"{now()} {command}")
    before = sys.stdout, sys.stderr
    copies = [Copy(stream, write) for stream in before]
    handlers = [handlers_of(stream) for stream in before]
    redirect(handlers, copies)
    sys.stdout, sys.stderr = copies
    try:
        yield
    except (ConfigError, Stopped) as error:
        write(last_line(error))  # the program prints it when all else has ended
        raise
    finally:
        sys.stdout, sys.stderr = before
        redirect(handlers, before)
        for copy in copies:
            copy.end()
        os.close(descriptor)


class Copy:
    """A text stream that also passes each whole line, as a terminal would show it in the end, to a function."""

    def __init__(self, stream: TextIO, write: Any) -> None:
        self.stream = stream
        self.write_line = write
        self.pending = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write to the stream, and pass on the lines that this ends."""
        count = self.stream.write(text)
        *whole, self.pending = (self.pending + CONTROL.sub("", text)).split("\n")
        for line in whole:
            self.write_line(shown(line))
        self.pending = shown(self.pending) + ("\r" if self.pending.endswith("\r") else "")
        return count

    def end(self) -> None:
        """Pass on a line that has not ended."""
        if line := shown(self.pending):
            self.write_line(line)


def shown(line: str) -> str:
    """What a line shows whose beginning was overwritten after each carriage return."""
    return line.rstrip("\r").rpartition("\r")[2]


def handlers_of(stream: TextIO) -> list[logging.StreamHandler[Any]]:
    """The handlers of loggers that write to a stream; not those that look up `sys.stderr` at each message."""
    loggers = [logging.getLogger(), *logging.root.manager.loggerDict.values()]
    handlers = {handler for logger in loggers if isinstance(logger, logging.Logger) for handler in logger.handlers}
    return [
        handler
        for handler in handlers
        if isinstance(handler, logging.StreamHandler) and vars(handler).get("stream") is stream
    ]


def redirect(handlers: list[list[logging.StreamHandler[Any]]], streams: Any) -> None:
    """Let groups of handlers write to other streams, one for each group."""
    for group, stream in zip(handlers, streams, strict=True):
        for handler in group:
            handler.setStream(stream)
