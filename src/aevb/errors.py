"""Every error that a user can meet, and text that is safe to print."""

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except tab and newline, line separators, marks of text direction, surrogates."""
LONGEST_LINE = 2000


def printable(text: object) -> str:
    """The text with each character that could control a terminal escaped, such as `\\x1b`."""
    return UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def one_line(text: object) -> str:
    """The printable text in one line, cut at `LONGEST_LINE` characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} …"


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or the name of its class."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, torch or CUDA reports that no memory is left."""
    words = ("can't allocate memory", "not enough memory", "out of memory", "Storage size calculation overflowed")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


class ConfigError(ValueError):
    """An invalid setting; the message is one line that names the key, the value and the remedy."""

    def __str__(self) -> str:
        return one_line(super().__str__())


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Imports within this context are of an extra: where it is not installed, a `ConfigError` says how to get it."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(f"{what} is an extra; install it with: pip install 'aevb[{name}]'") from error


class OtherRunError(ConfigError):
    """A run folder was made with settings that differ from those of the command."""


class DownloadError(OSError, ValueError):
    """A failed download; the message is one line with the reason and how to get the file by hand.

    It is also a ValueError, as are all errors that a setting (`paths.data`, `data.urls`) can fix.
    """


class LockedError(RuntimeError):
    """Another process holds the lock."""


class NonFiniteLossError(ArithmeticError):
    """The training loss became NaN or infinite."""


class WorkerFailedError(RuntimeError):
    """A worker process ended before its run was complete."""


class JobFailedError(Exception):
    """A job of a sweep failed, or was lost; the message is one line."""


class Interrupted(Exception):  # noqa: N818 - not an error
    """Training was interrupted by a signal, after its state was saved."""

    def __init__(self, signum: int, samples: int) -> None:
        super().__init__(signum, samples)
        self.signum = signum
        self.samples = samples

    def __str__(self) -> str:
        return f"interrupted by {signal.Signals(self.signum).name} at {self.samples:,} samples"


class Pruned(Exception):  # noqa: N818 - not an error
    """A search ended the training early, because other trials are better."""

    def __init__(self, samples: int, best_elbo: float) -> None:
        super().__init__(samples, best_elbo)
        self.samples = samples
        self.best_elbo = best_elbo

    def __str__(self) -> str:
        return f"pruned at {self.samples:,} samples"


EXPECTED = (ConfigError, Interrupted, NonFiniteLossError, Pruned)
"""Errors with which training ends for a known reason."""


class Stopped(Exception):  # noqa: N818 - a run may stop at its user's request
    """A run ended early, for the reason in the message."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def __str__(self) -> str:
        return one_line(super().__str__())


def last_line(error: ConfigError | Stopped) -> str:
    """The last line that a program prints for the error that ends it."""
    return str(error) if isinstance(error, Stopped) else f"error: {error}"


def fail(message: str, code: int) -> NoReturn:
    """Print the message as the last line, and exit."""
    print(message, file=sys.stderr)
    sys.exit(code)


def file_error(error: OSError) -> str:
    """Path and cause of a file system error, in one line."""
    return one_line(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error)
