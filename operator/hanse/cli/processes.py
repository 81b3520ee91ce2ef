"""The programs of `hanse run` as child processes: started, restarted like sidecars, ended with all they started.

`localrun` says which. On Linux a child dies with its parent (`child`), and what a killed child leaves behind becomes
ours (subreaper), so that `stop` finds every descendant.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_PR_SET_CHILD_SUBREAPER: Final = 36
_CHILD: Final = Path(__file__).with_name("child.py")
_POLL_SECONDS: Final = 0.05


def _never(_code: int) -> bool:
    return False


@dataclass(frozen=True)
class Program:
    """One program. `retry` says whether an exit code is started again, at most `retries` times.

    Programs of a higher `stage` are ended first.
    """

    name: str
    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    retry: Callable[[int], bool] = _never
    retries: int = 0
    stage: int = 0


@dataclass
class _Child:
    program: Program
    process: subprocess.Popen[bytes]
    starts: int = 1
    ended: bool = False


@dataclass(frozen=True)
class Exit:
    """A program that ended; `final` when it is not started again."""

    name: str
    code: int
    final: bool


@dataclass
class Processes:
    """All children; a context manager that leaves none behind."""

    grace_seconds: float = 8.0
    _children: dict[str, _Child] = field(default_factory=dict)
    _not_ours: set[int] = field(default_factory=set)

    def __enter__(self) -> Self:
        self._not_ours = set(descendants(os.getpid()))
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    def start(self, program: Program) -> None:
        """Start a program, its output appended to its log."""
        child = self._children.get(program.name)
        if child is None:
            self._children[program.name] = _Child(program, _spawn(program))
        else:
            child.process, child.starts, child.ended = _spawn(program), child.starts + 1, False

    def running(self, name: str) -> bool:
        """Whether that program is there."""
        child = self._children.get(name)
        return child is not None and not child.ended and child.process.poll() is None

    def poll(self) -> list[Exit]:
        """What ended since the last call; what may be started again has been."""
        exits = []
        for name, child in list(self._children.items()):
            if child.ended or (code := child.process.poll()) is None:
                continue
            # A process that was killed by signal n reports -n; a container would report 128 + n.
            code = 128 - code if code < 0 else code
            again = child.program.retry(code) and child.starts <= child.program.retries
            exits.append(Exit(name, code, not again))
            child.ended = True
            if again:
                self.start(child.program)
        return exits

    def wait(self, names: Sequence[str], seconds: float) -> None:
        """Wait until those have ended, at most so long."""
        deadline = time.monotonic() + seconds
        while any(self.running(name) for name in names) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """SIGTERM stage by stage, then SIGKILL for whatever is left, grandchildren too."""
        try:
            for stage in sorted({c.program.stage for c in self._children.values()}, reverse=True):
                here = [n for n, c in self._children.items() if c.program.stage == stage and self.running(n)]
                for name in here:
                    self._children[name].process.terminate()
                self.wait(here, self.grace_seconds)
        finally:
            ours = {child.process.pid for child in self._children.values()}
            orphans = set(descendants(os.getpid())) - self._not_ours - ours
            _kill(orphans | {c.process.pid for c in self._children.values() if c.process.poll() is None})
            for child in self._children.values():
                child.process.wait()
                child.ended = True
            for pid in orphans:
                with contextlib.suppress(ChildProcessError):  # its own parent was quicker
                    os.waitpid(pid, 0)


def _spawn(program: Program) -> subprocess.Popen[bytes]:
    program.log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-IS", str(_CHILD), str(os.getpid()), program.module, *program.arguments]
    with program.log.open("ab") as log:
        # A session of its own: the terminal's Ctrl-C reaches `hanse run` alone, which ends its children in order.
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(program.environment),
            start_new_session=True,
        )


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, from /proc; nothing where there is none."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
