"""Children of `hanse run`: real processes, restarted, ended in order, none left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hanse.cli.processes import Exit, Processes, Program

PROGRAM = """
import os, signal, subprocess, sys, time
mode = sys.argv[1]
if mode.isdigit():
    sys.exit(int(mode))
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "parent":
    subprocess.Popen([sys.executable, "-c", "import time, signal; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])
if mode == "polite":
    def end(*_):
        print("ended", sys.argv[2], time.monotonic_ns(), flush=True)
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)
print("ready", os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def programs(tmp_path: Path) -> "Maker":
    (tmp_path / "child_program.py").write_text(PROGRAM)
    return Maker(tmp_path)


class Maker:
    """Makes programs that run `child_program MODE`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, mode: str, name: str = "p", retries: int = 0, stage: int = 0) -> Program:
        return Program(
            name=name,
            module="child_program",
            arguments=(mode, name),
            environment={**os.environ, "PYTHONPATH": str(self.path)},
            log=self.path / f"{name}.log",
            retry=lambda code: code != 0,
            retries=retries,
            stage=stage,
        )

    def lines(self, name: str = "p") -> list[str]:
        file = self.path / f"{name}.log"
        # Unbuffered, a line is written in pieces: only what ends in a newline is one.
        return file.read_text().split("\n")[:-1] if file.is_file() else []


@pytest.fixture
def processes() -> Iterator[Processes]:
    with Processes(grace_seconds=0.3) as found:
        yield found


def until_ready(maker: Maker, name: str = "p", times: int = 1) -> int:
    """The pid of the newest start, once it has said so."""
    while len(found := [line for line in maker.lines(name) if line.startswith("ready")]) < times:
        time.sleep(0.01)
    return int(found[-1].split()[1])


def exits(processes: Processes, count: int) -> list[Exit]:
    found: list[Exit] = []
    while len(found) < count:
        found += processes.poll()
    return found


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.is_file() and "\nState:\tZ" not in status.read_text()


def test_an_exit_is_told_once(processes: Processes, programs: Maker) -> None:
    processes.start(programs("7"))
    assert exits(processes, 1) == [Exit("p", 7, final=True)]
    assert processes.poll() == []
    assert not processes.running("p")


def test_a_retry_has_an_end(processes: Processes, programs: Maker) -> None:
    processes.start(programs("9", retries=2))
    assert [e.final for e in exits(processes, 3)] == [False, False, True]


def test_a_killed_program_is_started_again_and_reported_as_a_container_would(
    processes: Processes, programs: Maker
) -> None:
    processes.start(programs("wait", retries=1))
    os.kill(until_ready(programs), signal.SIGKILL)
    assert exits(processes, 1) == [Exit("p", 137, final=False)]
    assert alive(until_ready(programs, times=2))


def test_higher_stages_end_first(processes: Processes, programs: Maker) -> None:
    for name, stage in (("early", 0), ("late", 2), ("middle", 1)):
        processes.start(programs("polite", name, stage=stage))
        until_ready(programs, name)
    processes.grace_seconds = 20
    processes.stop()
    ended = {name: int(programs.lines(name)[-1].split()[2]) for name in ("early", "middle", "late")}
    assert sorted(ended, key=lambda n: ended[n]) == ["late", "middle", "early"]


def test_who_does_not_listen_is_killed(programs: Maker) -> None:
    with Processes(grace_seconds=0.1) as processes:
        processes.start(programs("stubborn"))
        pid = until_ready(programs)
    assert not alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="subreaper and /proc are Linux's")
def test_grandchildren_of_a_dead_child_are_found(programs: Maker) -> None:
    with Processes(grace_seconds=0.1) as processes:
        processes.start(programs("parent"))
        pid = until_ready(programs)
        (grandchild,) = (int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        os.kill(pid, signal.SIGKILL)
        exits(processes, 1)
        assert alive(grandchild)
    assert not alive(grandchild)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_children_die_with_their_parent(programs: Maker, tmp_path: Path) -> None:
    source = (
        "import sys, os, pathlib; sys.path[:0] = [sys.argv[1]]\n"
        "from hanse.cli.processes import Processes, Program\n"
        "env = {**os.environ, 'PYTHONPATH': sys.argv[2]}\n"
        "with Processes() as p:\n"
        "    p.start(Program('p', 'child_program', ('wait', 'p'), env, pathlib.Path(sys.argv[2]) / 'p.log'))\n"
        "    sys.stdin.read()\n"
    )
    root = str(Path(__file__).resolve().parents[3])
    parent = subprocess.Popen([sys.executable, "-c", source, root, str(tmp_path)], stdin=subprocess.PIPE)
    pid = until_ready(programs)
    parent.kill()
    parent.wait()
    while alive(pid):
        pass
