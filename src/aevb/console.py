"""Log records on the terminal."""

import logging

from rich import get_console
from rich.text import Text

from aevb.errors import printable


class LineHandler(logging.Handler):
    """Prints a record with its time, above a progress bar where there is one; long lines are the terminal's to wrap."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "[%H:%M:%S]"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            get_console().print(Text(printable(self.format(record))), soft_wrap=True)
        except Exception:
            self.handleError(record)
