"""The asking side of a worker process. Called by `cipher.py` and `summing.py`."""

import contextlib
import fcntl
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from hanse.runtime.he.errors import HeError
from hanse.runtime.he.wire import DONE, ERRORS, MOST_ERROR_BYTES, REPLY, REQUEST, Inbox, Operation, write_all

if TYPE_CHECKING:
    from hanse.runtime.he.wire import Stream

_COMMAND: Final = (sys.executable, "-P", "-m", "hanse.runtime.he.worker")
_KEPT: Final = ("PATH", "LD_LIBRARY_PATH", "LANG", "TMPDIR")
#: numpy's linear algebra would start a thread for each CPU, and nothing here uses it.
_THREADS: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_MOST_WORKERS: Final = 8
_PIPE_BYTES: Final = 1 << 20
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


class Died(Exception):
    """The worker process is gone, or does not speak the protocol any more."""


class Process:
    """One worker process, started by exec, so that it inherits no memory and no generator's state; not thread-safe."""

    def __init__(self) -> None:
        self._popen = subprocess.Popen(
            _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(), cwd="/", bufsize=0
        )
        self._inbox = Inbox()
        for pipe in (self._popen.stdin, self._popen.stdout):
            assert pipe
            with contextlib.suppress(OSError):  # this user's share of pipe memory may be used up: then slower
                fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._popen.pid

    def send(self, operation: Operation, first: int = 0, second: int = 0, payload: bytes | memoryview = b"") -> None:
        """Ask. Raises Died."""
        assert self._popen.stdin
        try:
            write_all(self._popen.stdin.fileno(), REQUEST.pack(operation, first, second, len(payload)), payload)
        except (BrokenPipeError, ValueError) as error:  # ValueError: closed
            raise Died from error

    def receive(self, size: int = 0) -> memoryview:
        """The reply, of exactly `size` bytes, valid until the next one. Raises Died, and what `wire.ERRORS` names."""
        stream = cast("Stream", self._popen.stdout)
        try:
            status, found = REPLY.unpack(self._inbox.read(stream, REPLY.size))
            if (found != size if status == DONE else found > MOST_ERROR_BYTES) or status > len(ERRORS):
                raise Died
            reply = self._inbox.read(stream, found)
        except (EOFError, ValueError) as error:
            raise Died from error
        if status != DONE:
            failed: HeError = ERRORS[status - 1](str(reply, errors="replace"))
            raise failed
        return reply

    def ask(
        self,
        operation: Operation,
        first: int = 0,
        second: int = 0,
        payload: bytes | memoryview = b"",
        *,
        size: int = 0,
    ) -> memoryview:
        """Ask and wait for the reply. Raises Died, and what `wire.ERRORS` names."""
        self.send(operation, first, second, payload)
        return self.receive(size)

    def close(self) -> None:
        """End the process and wait for it."""
        self._popen.kill()
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()


def _environment() -> dict[str, str]:
    """Nothing that a worker does not need: no token or address that stands in the environment of its parent."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept | _THREADS | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def usable_cpus() -> int:
    """CPUs that this process may use: its affinity and its container's quota (cgroup v2), at most 8."""
    most = min(len(os.sched_getaffinity(0)), _MOST_WORKERS)
    try:
        quota, period = _QUOTA.read_text().split()
        return most if quota == "max" else max(1, min(most, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2 here
        return most
