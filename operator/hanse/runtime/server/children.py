"""Processes of the launcher, which is PID 1: spawn, wait for events, reap whatever ends.

Not `subprocess`: PID 1 reaps orphans with waitpid(-1), which would take subprocess' children away from it.
"""

import contextlib
import os
import selectors
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

from hanse.runtime.reaper import reap


@dataclass
class Child:
    """A process and the reading end of its event pipe."""

    pid: int
    events: int
    status: int | None = None
    _rest: bytearray = field(default_factory=bytearray)

    @property
    def exit_code(self) -> int | None:
        """Exit code, negative for a signal, None while it runs."""
        return None if self.status is None else os.waitstatus_to_exitcode(self.status)

    def lines(self) -> list[bytes]:
        """Whole lines that have arrived."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.events, 65536):
                self._rest += chunk
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest[:] = rest
        return lines

    def signal(self, number: int) -> None:
        """Signal the process group; one that is gone is fine."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)


class Supervisor:
    """Signals and children of this process. One at a time in a process: it installs signal handlers."""

    def __init__(self) -> None:
        self.stopping = False
        self._children: dict[int, Child] = {}
        self._wake_read, wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def spawn(self, command: Sequence[str], environment: Mapping[str, str], pipe_variable: str) -> Child:
        """Start a process in a group of its own; the writing end of its event pipe is named in `pipe_variable`."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_inheritable(writing, True)
        try:
            pid = os.posix_spawn(command[0], list(command), {**environment, pipe_variable: str(writing)}, setpgroup=0)
        finally:
            os.close(writing)
        child = Child(pid, reading)
        self._children[pid] = child
        return child

    def wait(self, child: Child, timeout: float) -> None:
        """Until the child says something or ends, a signal comes, or `timeout` has passed; then reap."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            if child.status is None:
                selector.register(child.events, selectors.EVENT_READ)
            selector.select(timeout)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 4096):
                pass
        self._reap()

    def _reap(self) -> None:
        """Collect everything that has ended: our children, and orphans that became ours because we are PID 1."""
        for pid, status in reap():
            if (child := self._children.pop(pid, None)) is not None:
                child.status = status
