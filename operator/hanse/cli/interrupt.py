"""Ctrl-C and SIGTERM of a long command, so that none is lost. Used by `hanse.cli.runcommand`."""

import signal
from types import FrameType


class Interrupt:
    """Raises KeyboardInterrupt when a signal comes, and again at the next `look`.

    What a signal handler raises inside a destructor or a callback of the garbage collector is printed and forgotten by
    Python ("Exception ignored in ..."): a command that relied on it alone would run on.
    """

    def __init__(self) -> None:
        self.asked = False

    def install(self) -> None:
        """Take SIGINT and SIGTERM of this process."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def look(self) -> None:
        """Raise KeyboardInterrupt when a signal has come."""
        if self.asked:
            raise KeyboardInterrupt

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True
        raise KeyboardInterrupt
