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
    """Append all output, log records and warnings inside the context to a file.

    A line that is redrawn, such as a progress bar, is written in its last state. On a full disk, lines are lost, and
    the run continues.

    Args:
        file: train.log, in an existing folder.
        command: The first line that this process writes.
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
        write(last_line(error))  # the program prints it after this context
        raise
    finally:
        sys.stdout, sys.stderr = before
        redirect(handlers, before)
        for copy in copies:
            copy.end()
        os.close(descriptor)


class Copy:
    """A text stream that also passes each complete line, as a terminal finally displays it, to a function."""

    def __init__(self, stream: TextIO, write: Any) -> None:
        self.stream = stream
        self.write_line = write
        self.pending = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write to the stream, and pass on the lines that are complete."""
        count = self.stream.write(text)
        *whole, self.pending = (self.pending + CONTROL.sub("", text)).split("\n")
        for line in whole:
            self.write_line(displayed(line))
        self.pending = displayed(self.pending) + ("\r" if self.pending.endswith("\r") else "")
        return count

    def end(self) -> None:
        """Pass on an incomplete last line."""
        if line := displayed(self.pending):
            self.write_line(line)


def displayed(line: str) -> str:
    """A line as a terminal displays it, each carriage return overwriting what came before."""
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
    """Redirect each group of handlers to another stream."""
    for group, stream in zip(handlers, streams, strict=True):
        for handler in group:
            handler.setStream(stream)
