"""Starts a cluster's process 1 in namespaces of its own, finds it again and runs commands beside it.

Used by the local back end. The namespaces have no name anywhere: they live as long as a process in them does, so ending
the processes removes mounts, interfaces and packet filter rules too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster.errors import NotRunning
from e2e.cluster.local import cgroups
from e2e.cluster.local.layout import Layout, interface_alias
from e2e.cluster.paths import repo_root
from e2e.cluster.proc import run, wait_for, which

# Joins the groups before anything else runs, so that a process of ours is always found by its cgroup.
_JOIN = 'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ > "$1/cgroup.procs"; shift; n=$((n-1)); done; exec "$@"'


def joining(groups: Sequence[Path], argv: Sequence[str]) -> list[str]:
    """The command that enters the groups and becomes `argv`."""
    return ["/bin/sh", "-ec", _JOIN, "sh", str(len(groups)), *map(str, groups), *argv]


def start(layout: Layout, groups: Sequence[Path]) -> int:
    """Start process 1 and connect its network; returns its PID on the host."""
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": str(repo_root()),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/root",
    }
    command = [which("unshare"), "--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command += ["--propagation", "private", sys.executable, "-m", "e2e.cluster.local.init", str(layout.directory)]
    with (layout.logs / "init.log").open("ab") as log:
        subprocess.Popen(
            joining(groups, command), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env=environment, cwd="/", start_new_session=True,
        )  # fmt: skip
    wait_for("process 1 of the cluster", lambda: find_init(layout.name) is not None, timeout=20, interval=0.02)
    pid = find_init(layout.name)
    assert pid is not None
    _connect(layout, pid)
    (layout.directory / "run" / "uplink").touch()
    return pid


def find_init(name: str) -> int | None:
    """The host's PID of the cluster's process 1, found by its cgroup: no file to go stale."""
    for pid in cgroups.processes(name):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        if is_namespace_init(status):
            return pid
    return None


def is_namespace_init(status: str) -> bool:
    """Whether /proc/PID/status is that of process 1 of a PID namespace directly below ours."""
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            pids = line.split()[1:]
            return len(pids) == 2 and pids[1] == "1"
    return False


def enter_command(init: int, argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` in a cluster's namespaces."""
    return [which("nsenter"), f"--target={init}", "--mount", "--net", "--ipc", "--pid", "--", *argv]


def execute(
    layout: Layout, argv: Sequence[str], *, check: bool, timeout: float, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command on the cluster's node, in its namespaces and cgroup."""
    init = find_init(layout.name)
    if init is None:
        raise NotRunning(f"cluster {layout.name} is not running")
    groups = cgroups.create(layout.name)
    environment = {**os.environ, "CONTAINERD_ADDRESS": str(layout.containerd_socket)}
    command = joining(groups, enter_command(init, argv))
    return run(command, check=check, timeout=timeout, stdin=stdin, env=environment)


def remove_interfaces(name: str) -> None:
    """Delete what is left of the cluster's interfaces on the host; normally the kernel already did."""
    alias = interface_alias(name)
    for path in Path("/sys/class/net").glob("*/ifalias"):
        try:
            mine = path.read_text().strip() == alias
        except OSError:
            continue  # it is going away
        if mine:
            run([which("ip"), "link", "delete", path.parent.name], check=False)
            wait_for(f"interface {path.parent.name} gone", lambda at=path: not at.exists(), timeout=10)  # type: ignore[misc]


def _connect(layout: Layout, init: int) -> None:
    ip, inside = which("ip"), [which("nsenter"), f"--target={init}", "--net", "--"]
    outer = layout.host_interface
    run([ip, "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", str(init)])
    run([ip, "link", "set", outer, "alias", interface_alias(layout.name)])
    run([ip, "addr", "add", f"{layout.host_address}/30", "dev", outer])
    run([ip, "link", "set", outer, "up"])
    run([*inside, ip, "addr", "add", f"{layout.node_address}/30", "dev", "eth0"])
    run([*inside, ip, "link", "set", "eth0", "up"])
    run([*inside, ip, "link", "set", "lo", "up"])
