"""Every error that a user can meet, and text that is safe to print."""

import re
import signal
import sys
from typing import NoReturn

UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and newline, line separators, marks that change the direction of text, surrogates."""
LONGEST_LINE = 2000


def printable(text: object) -> str:
    """The text with an escape sequence such as `\\x1b` in place of each character that could control a terminal."""
    return UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def one_line(text: object) -> str:
    """The printable text in one line, which is cut where it is too long to be read."""
    line = " ".join(printable(text).split())
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} …"


def first_line(error: BaseException) -> str:
    """What an exception says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory left, as Python, torch and CUDA say it."""
    words = ("can't allocate memory", "not enough memory", "out of memory", "Storage size calculation overflowed")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


class ConfigError(ValueError):
    """A setting that makes no sense; the message is one line that names the key, the value and the remedy."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class OtherRunError(ConfigError):
    """A run folder was made with other settings than the command has."""


class DownloadError(OSError, ValueError):
    """A file could not be downloaded. The message is one line: why, and how to get it by hand.

    It is a ValueError as well, like every error that a setting (`paths.data`, `data.urls`) mends.
    """


class LockedError(RuntimeError):
    """Another living process holds the lock."""


class NonFiniteLossError(ArithmeticError):
    """The training loss became NaN or infinite."""


class WorkerFailedError(RuntimeError):
    """A worker ended before its run was done."""


class JobFailedError(Exception):
    """A job of a sweep failed, or was lost; the message is one line."""


class Interrupted(Exception):  # noqa: N818 - what happened is no error
    """Training was interrupted by a signal, after its state was saved."""

    def __init__(self, signum: int, samples: int) -> None:
        super().__init__(signum, samples)
        self.signum = signum
        self.samples = samples

    def __str__(self) -> str:
        return f"interrupted by {signal.Signals(self.signum).name} at {self.samples:,} samples"


class Pruned(Exception):  # noqa: N818 - what happened is no error
    """A search has ended the training, as other trials are better."""

    def __init__(self, samples: int, best_elbo: float) -> None:
        super().__init__(samples, best_elbo)
        self.samples = samples
        self.best_elbo = best_elbo

    def __str__(self) -> str:
        return f"pruned at {self.samples:,} samples"


class Stopped(Exception):  # noqa: N818 - a run may stop because its user said so
    """A run ended before it was done, for the reason that the message gives."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def __str__(self) -> str:
        return one_line(super().__str__())


def last_line(error: ConfigError | Stopped) -> str:
    """The last line that a program prints about the error that ends it."""
    return str(error) if isinstance(error, Stopped) else f"error: {error}"


def fail(message: str, code: int) -> NoReturn:
    """Print the message as the last line, and exit."""
    print(message, file=sys.stderr)
    sys.exit(code)


def file_error(error: OSError) -> str:
    """The path and the cause of an error of the file system, in one line."""
    return one_line(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error)
