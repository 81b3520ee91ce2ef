"""Faults as they happen to a cluster: signals sent from the node to one process of a pod, an operator that is away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.cluster import node
from e2e.cluster.backend import Cluster
from e2e.harness.federation import OPERATOR_NAMESPACE
from e2e.harness.kube import Kube, Object, wait_until


def kill(cluster: Cluster, pod: Object, pattern: str, signal: str = "KILL") -> int:
    """Send a signal to the processes of one container whose command line holds `pattern`; how many there were."""
    status = pod["status"]
    statuses = [*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])]
    for container in (s["containerID"] for s in statuses if "running" in s["state"]):
        found = node.processes(cluster, container)
        if any(pattern in command for command in found.values()):
            return len(node.kill(cluster, container, signal=signal, match=re.escape(pattern)))
    raise AssertionError(f"no process of pod {pod['metadata']['name']} has {pattern!r} in its command line")


def operator_pods(kube: Kube) -> list[Object]:
    """Pods of the operator."""
    return kube.list("pods", OPERATOR_NAMESPACE, "app.kubernetes.io/name=hanse")


@contextmanager
def operator_down(kube: Kube) -> Iterator[None]:
    """The operator is away, its pod gone; afterwards it is back."""
    kube.run("scale", "-n", OPERATOR_NAMESPACE, "deploy/hanse-operator", "--replicas=0")
    try:
        wait_until("the operator's pod is gone", lambda: not operator_pods(kube), timeout=90)
        yield
    finally:
        kube.run("scale", "-n", OPERATOR_NAMESPACE, "deploy/hanse-operator", "--replicas=1")
