"""Finds the back end of a cluster by its name. Used by the command line and by e2e tests: `open_cluster("dev")`."""

from __future__ import annotations

import json
from collections.abc import Callable

from e2e.cluster.backend import Cluster
from e2e.cluster.errors import ClusterError
from e2e.cluster.existing import ExistingCluster
from e2e.cluster.kind import KindCluster
from e2e.cluster.local.backend import LocalCluster
from e2e.cluster.paths import DEFAULT_NAME, cluster_dir, clusters_dir

Report = Callable[[str], None]
BACKENDS: dict[str, Callable[[str, Report], Cluster]] = {
    "local": LocalCluster,
    "kind": KindCluster,
    "existing": ExistingCluster,
}
_DEFAULT_BACKEND = "local"


def open_cluster(name: str = DEFAULT_NAME, backend: str | None = None, *, report: Report = lambda _: None) -> Cluster:
    """The cluster of that name, running or not.

    Args:
        backend: for a cluster that is not there yet; the one of a cluster on disk is known.

    Raises:
        ClusterError: the name is taken by a cluster of another back end.
    """
    known = _recorded(name)
    if known and backend and known != backend:
        raise ClusterError(f"cluster {name} is of back end {known}, not {backend}: take it down first")
    return BACKENDS[known or backend or _DEFAULT_BACKEND](name, report)


def names() -> list[str]:
    """The clusters on disk."""
    return sorted(path.parent.name for path in clusters_dir().glob("*/state.json"))


def _recorded(name: str) -> str | None:
    try:
        found = json.loads((cluster_dir(name) / "state.json").read_text())["backend"]
    except (OSError, ValueError, KeyError):
        return None
    return found if found in BACKENDS else None
