"""Faults as they happen to a cluster: signals sent from the node to one process of a pod."""

from __future__ import annotations

import re

from e2e.cluster import node
from e2e.cluster.backend import Cluster
from e2e.harness.kube import Object


def kill(cluster: Cluster, pod: Object, pattern: str, signal: str = "KILL") -> int:
    """Send a signal to the pod's processes whose command line holds `pattern`; how many there were."""
    status = pod["status"]
    statuses = [*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])]
    count = 0
    for container in (s["containerID"] for s in statuses if "running" in s["state"]):
        found = node.processes(cluster, container)
        if any(pattern in command for command in found.values()):
            count += len(node.kill(cluster, container, signal=signal, match=re.escape(pattern)))
    if count == 0:
        raise AssertionError(f"no process of pod {pod['metadata']['name']} has {pattern!r} in its command line")
    return count
