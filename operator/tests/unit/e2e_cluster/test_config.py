"""What the daemons of a local cluster are told."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.binaries import ALL_PROGRAMS
from e2e.cluster.local import config, objects
from e2e.cluster.local.layout import Layout

LAYOUT = Layout("dev", Path("/cache/clusters/dev"), 3)
BUILT = {name: Path("/cache/bin") / name for name in ALL_PROGRAMS}
PROGRAMS = {name: f"/usr/bin/{name}" for name in ("etcd", "containerd", "ip", "sysctl")}


@pytest.fixture
def plan() -> dict[str, Any]:
    return config.node_plan(LAYOUT, BUILT, PROGRAMS)


def test_every_daemon_has_a_full_path_and_waits_only_for_what_another_one_offers(plan: dict[str, Any]) -> None:
    names = [each["name"] for each in plan["daemons"]]
    assert sorted(names) == sorted(set(names))
    offered = {"127.0.0.1:2379", "127.0.0.1:6443", str(LAYOUT.containerd_socket)}
    for daemon in plan["daemons"]:
        assert daemon["argv"][0].startswith("/")
        assert set(daemon["after"]) <= offered
    assert {each["name"] for each in plan["daemons"] if not each["after"]} == {"etcd", "containerd"}


def _everything(layout: Layout) -> str:
    daemons = json.dumps(config.node_plan(layout, BUILT, PROGRAMS)["daemons"])
    return daemons + config.containerd(layout, "overlayfs") + config.kubelet(layout) + config.corefile(layout)


def test_a_cluster_writes_only_below_its_own_directory(plan: dict[str, Any]) -> None:
    """Whatever else two clusters share, they read; or it is covered by a mount of each one's own."""
    text = re.sub(r"\w+://[\w.:]*", "", _everything(LAYOUT))
    elsewhere = set(re.findall(r"(?<![\w.}])/(?!cache/clusters/dev\b)[\w./-]+", text))
    reads = ("/cache/bin", "/usr/bin", "/usr/lib/cni", "/hanse-dev", "/16")
    python = {word for word in elsewhere if "python" in word}
    assert {word for word in elsewhere - python if not word.startswith(reads)} == set()
    assert {target for _, target in plan["mounts"]} >= {"/var/lib/cni", "/run/netns", "/run/containerd"}
    assert all(source.startswith("/cache/clusters/dev/private/") for source, _ in plan["mounts"])


def test_two_clusters_differ_in_name_and_subnet_only() -> None:
    other = Layout("other", Path("/cache/clusters/other"), 4)
    translated = _everything(LAYOUT).replace("/clusters/dev", "/clusters/other").replace("hanse-dev", "hanse-other")
    assert translated.replace("10.247.3.", "10.247.4.") == _everything(other)


def test_containerd_needs_no_right_to_lower_oom_scores() -> None:
    parsed = tomllib.loads(config.containerd(LAYOUT, "native"))
    cri = parsed["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["restrict_oom_score_adj"] is True
    assert cri["sandbox_image"] == config.PAUSE_IMAGE
    assert cri["containerd"]["snapshotter"] == "native"
    assert parsed["grpc"]["address"] == str(LAYOUT.containerd_socket)


def test_kubelet_runs_on_cgroup_v1_in_its_own_group_and_collects_no_image() -> None:
    parsed = json.loads(config.kubelet(LAYOUT))
    assert parsed["failCgroupV1"] is False
    assert parsed["cgroupDriver"] == "cgroupfs"
    assert parsed["cgroupRoot"] == "/hanse-dev"
    assert parsed["imageGCHighThresholdPercent"] == 100


def test_kube_proxy_leaves_the_hosts_conntrack_limits_alone() -> None:
    parsed = json.loads(config.kube_proxy(LAYOUT))
    assert parsed["mode"] == "nftables"
    assert set(parsed["conntrack"].values()) == {0, "0s"}


def test_cni_makes_the_bridge_whose_address_dns_is_at() -> None:
    plugins = json.loads(config.cni())["plugins"]
    assert plugins[0]["bridge"] == "cni0"
    assert plugins[0]["ipam"]["ranges"] == [[{"subnet": "10.244.0.0/16"}]]
    assert "bind 10.244.0.1" in config.corefile(LAYOUT)


def test_dns_catches_other_names_in_a_block_of_their_own() -> None:
    """In one block `template` would answer before `kubernetes`: CoreDNS has its own order of plugins."""
    cluster, _, rest = config.corefile(LAYOUT).partition("\n.:53 {")
    assert "kubernetes cluster.local" in cluster
    assert "template" not in cluster
    assert "NXDOMAIN" in rest


def test_initial_objects_are_applied_to_the_path_of_their_own_name() -> None:
    found = objects.initial_objects()
    for path, body in found:
        assert path.rpartition("/")[2] == body["metadata"]["name"]
    storage = next(body for _, body in found if body["kind"] == "StorageClass")
    assert storage["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true"
    rules = [rule for _, body in found for rule in body.get("rules", [])]
    assert all("*" not in [*rule["verbs"], *rule["resources"]] for rule in rules)


def test_gpus_are_offered_and_can_be_taken() -> None:
    status = objects.gpu_patch(8)["status"]
    assert status["capacity"] == status["allocatable"] == {"nvidia.com/gpu": "8"}
