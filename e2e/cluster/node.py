"""What tests do to containers from the node, on any back end that has `node_exec`. Used by the fault tests.

A container's process 1 ignores kill -9 from inside, so the signal comes from the node.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from e2e.cluster.backend import Cluster
from e2e.cluster.errors import ClusterError

_CTR = ("ctr", "--namespace", "k8s.io")
# Prints `PID command line` for each process given; a process that ends meanwhile is left out.
_DESCRIBE = (
    'for p in "$@"; do c=$(tr "\\0" " " </proc/$p/cmdline 2>/dev/null) && [ -n "$c" ] && echo "$p $c"; done; true'
)


def processes(cluster: Cluster, container_id: str) -> dict[int, str]:
    """PID on the node and command line of each process of a container.

    Args:
        container_id: as in a pod's status, with or without `containerd://`.
    """
    done = cluster.node_exec([*_CTR, "tasks", "ps", container_id.rpartition("/")[2]])
    pids = [line.split()[0] for line in done.stdout.splitlines()[1:] if line.strip()]
    described = cluster.node_exec(["sh", "-c", _DESCRIBE, "sh", *pids])
    found = {}
    for line in described.stdout.splitlines():
        pid, _, command = line.partition(" ")
        found[int(pid)] = command.strip()
    return found


def kill(cluster: Cluster, container_id: str, *, signal: str = "KILL", match: str | None = None) -> list[int]:
    """Signal a container's process 1, or its processes whose command line matches; returns their PIDs.

    Args:
        match: a regular expression searched in the command line.

    Raises:
        ClusterError: no process matches.
    """
    if match is None:
        task = container_id.rpartition("/")[2]
        listing = cluster.node_exec([*_CTR, "tasks", "list"]).stdout
        pids = task_pids(listing, task)
    else:
        pids = [pid for pid, command in processes(cluster, container_id).items() if re.search(match, command)]
    if not pids:
        raise ClusterError(f"no process of container {container_id} matches {match or 'process 1'}")
    # Of processes that come and go (a fork for each message) some may have ended since they were listed.
    script = f'missed=1; for p in "$@"; do kill -{signal} "$p" 2>/dev/null && missed=0; done; exit $missed'
    cluster.node_exec(["sh", "-c", script, "sh", *map(str, pids)])
    return pids


def task_pids(listing: str, task: str) -> list[int]:
    """The PID of a task's first process, from `ctr tasks list`."""
    rows: list[Sequence[str]] = [line.split() for line in listing.splitlines()[1:]]
    return [int(row[1]) for row in rows if len(row) >= 2 and row[0] == task and row[1] != "0"]
