"""A cluster's parent cgroup, on cgroup v1 (each hierarchy) and v2.

Used by the local back end to start, find and end processes.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from e2e.cluster.errors import ClusterError
from e2e.cluster.local.layout import cgroup_name

_MOUNTS = Path("/proc/self/mounts")
# The daemons' own group; the kubelet makes `kubepods` beside it. On v2 a group with children may hold no process.
DAEMONS = "daemons"


def hierarchies(mounts: str) -> list[tuple[Path, str]]:
    """Mount point and type (`cgroup`, `cgroup2`) of each hierarchy, from the text of /proc/mounts."""
    found = []
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split(" ")
        if kind in ("cgroup", "cgroup2") and point.startswith("/sys/fs/cgroup"):
            found.append((Path(point), kind))
    return found


def create(name: str) -> list[Path]:
    """Make the cluster's groups and return those that its daemons join."""
    joined = []
    for root, kind in hierarchies(_MOUNTS.read_text()):
        group = root / cgroup_name(name)
        daemons = group / DAEMONS
        group.mkdir(exist_ok=True)
        if kind == "cgroup2" and root == Path("/sys/fs/cgroup"):
            _delegate(root)
            _delegate(group)
        _copy_cpuset(root, group)
        daemons.mkdir(exist_ok=True)
        _copy_cpuset(group, daemons)
        joined.append(daemons)
    if not joined:
        raise ClusterError("no cgroup hierarchy is mounted under /sys/fs/cgroup")
    return joined


def processes(name: str) -> set[int]:
    """Every process in the cluster's groups."""
    pids: set[int] = set()
    for group in _groups(name):
        for directory in [group, *_below(group)]:
            try:
                pids.update(int(pid) for pid in (directory / "cgroup.procs").read_text().split())
            except OSError:
                continue  # it went away while we looked
    pids.discard(0)  # a process of a PID namespace that we cannot see
    return pids


def kill(name: str, *, timeout: float = 30) -> None:
    """End every process in the cluster's groups.

    Raises:
        ClusterError: some are still there after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while pids := processes(name):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise ClusterError(f"processes of cluster {name} do not end: {sorted(pids)}")
        time.sleep(0.05)


def remove(name: str, *, timeout: float = 10) -> None:
    """Remove the cluster's groups, deepest first; a group stays busy for a moment after its last process."""
    deadline = time.monotonic() + timeout
    for group in _groups(name):
        while group.exists():
            for directory in [*_below(group), group]:
                try:
                    directory.rmdir()
                except OSError:
                    continue
            if group.exists():
                if time.monotonic() > deadline:
                    raise ClusterError(f"cgroup {group} cannot be removed")
                time.sleep(0.05)


def exists(name: str) -> bool:
    """Whether any of the cluster's groups is there."""
    return any(_groups(name))


def _groups(name: str) -> Iterator[Path]:
    for root, _ in hierarchies(_MOUNTS.read_text()):
        group = root / cgroup_name(name)
        if group.is_dir():
            yield group


def _below(group: Path) -> list[Path]:
    """All groups under one, deepest first."""
    return [Path(directory) for directory, _, _ in os.walk(group, topdown=False) if Path(directory) != group]


def _delegate(group: Path) -> None:
    """Let a v2 group's children use its controllers, each one that can be had."""
    for controller in (group / "cgroup.controllers").read_text().split():
        try:
            (group / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            continue  # busy, or this host keeps it for itself: the kubelet names the one that it misses


def _copy_cpuset(parent: Path, child: Path) -> None:
    """A new v1 cpuset is empty and takes no process before it has cores and memory nodes."""
    for part in ("cpuset.cpus", "cpuset.mems"):
        source, target = parent / part, child / part
        if source.exists() and target.exists() and not target.read_text().strip():
            content = source.read_text().strip()
            if content:
                target.write_text(content)
