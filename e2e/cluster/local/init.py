"""Process 1 of a local cluster's namespaces: mounts, bridge, then the daemons, each restarted when it ends.

Started by `namespaces.start` as `python -m e2e.cluster.local.init DIRECTORY`; standard library only. It reads
DIRECTORY/daemons.json (made by `config.node_plan`). Killing it kills everything in the cluster, because the kernel
ends a PID namespace with its first process; the mounts and the network end with the last process.

For each daemon NAME: its log is log/NAME.log, its PID (as the cluster sees it) run/NAME.pid, and while run/NAME.hold
exists it is not started.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST_LOG = 32 << 20
KEPT_LOG = 4 << 20
RESTART_DELAY = 1.0
_TICK = 0.1


@dataclass
class Daemon:
    """One supervised program."""

    name: str
    argv: list[str]
    after: list[str]
    pid: int = 0
    not_before: float = 0.0


def main() -> None:
    """Set the node up, then supervise until killed."""
    if os.getpid() != 1:
        raise SystemExit("only as process 1 of a cluster's namespaces: it unmounts, binds and makes a bridge")
    root = Path(sys.argv[1])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    _wait_for_file(root / "run" / "uplink")
    _let_go_of_overlays()
    plan: dict[str, Any] = json.loads((root / "daemons.json").read_text())
    for source, target in plan["mounts"]:
        Path(target).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", source, target], check=True)
    for command in plan["setup"]:
        subprocess.run(command, check=True)
    daemons = [Daemon(each["name"], each["argv"], each["after"]) for each in plan["daemons"]]
    while True:
        for daemon in daemons:
            if not daemon.pid and time.monotonic() >= daemon.not_before and _may_start(root, daemon):
                _start(root, daemon)
        if (got := signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM}, _TICK)) and got.si_signo == signal.SIGTERM:
            return
        _reap(daemons)
        for daemon in daemons:
            limit_log(root / "log" / f"{daemon.name}.log")


def limit_log(log: Path) -> None:
    """Keep the end of a log that has grown too long; its writer appends, so it can be cut in place."""
    try:
        size = log.stat().st_size
    except FileNotFoundError:
        return
    if size <= LARGEST_LOG:
        return
    with log.open("rb") as handle:
        handle.seek(size - KEPT_LOG)
        log.with_suffix(".log.1").write_bytes(handle.read())
    os.truncate(log, 0)


def answers(address: str) -> bool:
    """Whether something listens: `host:port`, or the path of a Unix socket."""
    unix = address.startswith("/")
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as probe:
        probe.settimeout(1)
        try:
            probe.connect(address if unix else (address.rpartition(":")[0], int(address.rpartition(":")[2])))
        except OSError:
            return False
    return True


def _may_start(root: Path, daemon: Daemon) -> bool:
    return not (root / "run" / f"{daemon.name}.hold").exists() and all(answers(each) for each in daemon.after)


def _start(root: Path, daemon: Daemon) -> None:
    log = root / "log" / f"{daemon.name}.log"
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    daemon.pid = os.posix_spawn(
        daemon.argv[0],
        daemon.argv,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
    )
    (root / "run" / f"{daemon.name}.pid").write_text(str(daemon.pid))


def _reap(daemons: list[Daemon]) -> None:
    """Collect every ended child: our daemons, and what was orphaned in this namespace."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        for daemon in daemons:
            if daemon.pid == pid:
                daemon.pid = 0
                daemon.not_before = time.monotonic() + RESTART_DELAY
                print(f"{daemon.name} ended ({os.waitstatus_to_exitcode(status)}), starting it again", flush=True)


def _let_go_of_overlays() -> None:
    """Unmount our copies of the containers that run elsewhere on this host: they would keep those mounts busy."""
    points = overlays(Path("/proc/self/mounts").read_text())
    for point in reversed(points):
        subprocess.run(["umount", "--lazy", point], check=False)


def overlays(mounts: str) -> list[str]:
    """The mount points of overlays but the root's, from the text of /proc/mounts."""
    rows = (line.split(" ") for line in mounts.splitlines())
    return [row[1] for row in rows if row[2] == "overlay" and row[1] != "/"]


def _wait_for_file(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)


if __name__ == "__main__":
    main()
