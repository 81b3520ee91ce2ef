"""Names, addresses and paths of one local cluster, and how they are given out.

Used by every module of the local back end. Everything but the subnet's number is a function of the cluster's
name, so `down` needs no more than the name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.errors import ClusterError
from e2e.cluster.paths import cluster_dir, clusters_dir

# Inside the cluster's own network namespace, so the same for every cluster.
BRIDGE = "cni0"
BRIDGE_ADDRESS = "10.244.0.1"
POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_SERVICE_ADDRESS = "10.96.0.10"
NODE_NAME = "node0"
API_PORT = 6443
ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
# Outside: each cluster's pair of addresses, 10.247.N.1 on the host and 10.247.N.2 in the cluster.
UPLINK_PREFIX = "10.247"
_LARGEST_INDEX = 250


@dataclass(frozen=True)
class Layout:
    """Where one local cluster is."""

    name: str
    directory: Path
    index: int

    @property
    def host_address(self) -> str:
        return f"{UPLINK_PREFIX}.{self.index}.1"

    @property
    def node_address(self) -> str:
        return f"{UPLINK_PREFIX}.{self.index}.2"

    @property
    def host_interface(self) -> str:
        return f"hanse{self.index}"

    @property
    def server(self) -> str:
        return f"https://{self.node_address}:{API_PORT}"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        return self.directory / "run" / "containerd.sock"

    @property
    def logs(self) -> Path:
        return self.directory / "log"

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    @property
    def volumes(self) -> Path:
        return self.directory / "volumes"


def interface_alias(name: str) -> str:
    """What marks a cluster's interface on the host, so that it is found when the state is lost."""
    return f"hanse cluster {name}"


def cgroup_name(name: str) -> str:
    """The parent cgroup of all that a cluster runs."""
    return f"hanse-{name}"


def state_file(name: str) -> Path:
    """What `up` writes first."""
    return cluster_dir(name) / "state.json"


def used_indexes() -> set[int]:
    """The subnets that the clusters on disk have."""
    found = set()
    for path in clusters_dir().glob("*/state.json"):
        try:
            found.add(int(json.loads(path.read_text())["index"]))
        except (OSError, ValueError, KeyError):
            continue  # another back end's cluster, or one that is being removed
    return found


def first_free_index(used: Iterable[int], routes: str) -> int:
    """The lowest subnet that neither a cluster nor the host's routing table (`ip route`'s text) has."""
    taken = set(used)
    for index in range(_LARGEST_INDEX + 1):
        if index not in taken and f"{UPLINK_PREFIX}.{index}." not in routes:
            return index
    raise ClusterError(f"no free subnet in {UPLINK_PREFIX}.0.0/16: too many clusters, or the host's network is there")
