"""The local back end, for real: two clusters at a time, what pods need, and that nothing stays behind. Needs root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import node, oci, preflight
from e2e.cluster.backend import Cluster, CreateOptions, LoadedImage
from e2e.cluster.kubeapi import KubeApi
from e2e.cluster.kubectl import kubectl
from e2e.cluster.local import cgroups, layout
from e2e.cluster.local.backend import LocalCluster
from e2e.cluster.local.namespaces import find_init
from e2e.cluster.paths import cluster_dir, repo_root
from e2e.cluster.proc import wait_for, which

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
_NAMES = ("selftest-a", "selftest-b")
_APPLETS = ("sh", "sleep", "cat", "wget", "nslookup", "id")
_PODS = "/api/v1/namespaces/demo/pods"


@pytest.fixture(scope="module", autouse=True)
def _host() -> None:
    if os.geteuid() != 0:
        pytest.skip("the local back end needs root")
    preflight.install()


@pytest.fixture(scope="module")
def clusters() -> Iterator[list[LocalCluster]]:
    pair = [LocalCluster(name) for name in _NAMES]
    try:
        for cluster in pair:
            cluster.create(CreateOptions(gpus=2))
        yield pair
    finally:
        for cluster in pair:
            cluster.delete()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    busybox = Path(which("busybox")).read_bytes()
    files = {"bin/busybox": (busybox, 0o755)}
    for applet in _APPLETS:
        files[f"bin/{applet}"] = (f'#!/bin/busybox sh\nexec /bin/busybox {applet} "$@"\n'.encode(), 0o755)
    path = tmp_path_factory.mktemp("image") / "busybox.tar"
    oci.write_archive(path, "hanse/selftest:1", files, entrypoint=["/bin/busybox"], user="1000:1000")
    return path


@pytest.fixture(scope="module")
def images(clusters: list[LocalCluster], archive: Path) -> list[LoadedImage]:
    return [cluster.load_images([archive])[0] for cluster in clusters]


@pytest.fixture(scope="module")
def apis(clusters: list[LocalCluster], images: list[LoadedImage]) -> list[KubeApi]:
    """Both clusters with a web server, its Service and its claim, in a `restricted` namespace."""
    found = []
    for cluster, image in zip(clusters, images, strict=True):
        api = KubeApi(cluster.kubeconfig())
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        api.apply("/api/v1/namespaces/demo", _object("v1", "Namespace", "demo", metadata={"labels": labels}))
        for path, body in _web(image, text=cluster.name):
            api.apply(path, body)
        found.append(api)
    for api in found:
        wait_for("the web server ready", lambda api=api: _pod_ready(api, "web"), timeout=120)  # type: ignore[misc]
    return found


def test_both_are_ready_and_a_second_up_changes_nothing(clusters: list[LocalCluster]) -> None:
    before = [find_init(cluster.name) for cluster in clusters]
    for cluster in clusters:
        cluster.create(CreateOptions())
        assert cluster.status().ready
    assert [find_init(cluster.name) for cluster in clusters] == before


def test_an_image_is_found_by_its_digest_and_is_not_loaded_twice(
    clusters: list[LocalCluster], images: list[LoadedImage], archive: Path, apis: list[KubeApi]
) -> None:
    assert images[0].by_digest == images[1].by_digest
    assert clusters[0].load_images([archive]) == [images[0]]
    spec = apis[0].get(f"{_PODS}/web")["spec"]["containers"][0]
    assert spec["image"] == images[0].by_digest


def test_names_services_and_volumes_work_in_each_cluster_by_itself(
    clusters: list[LocalCluster], apis: list[KubeApi]
) -> None:
    for cluster in clusters:
        # A Service answers about a second after its endpoint is ready: ask again, do not fail.
        wait_for(
            "the Service answers",
            lambda at=cluster: _fetch(at, "http://web.demo/name") == at.name,  # type: ignore[misc]
            timeout=60,
            interval=1,
        )


def test_gpus_are_counted(apis: list[KubeApi], images: list[LoadedImage]) -> None:
    for name, count in (("gpu-few", "2"), ("gpu-many", "3")):
        container = _container(images[0], "sleep 3600")
        container["resources"] = {"limits": {"nvidia.com/gpu": count}}
        apis[0].apply(f"{_PODS}/{name}", _pod(name, container))
    wait_for("the small one runs", lambda: _pod_ready(apis[0], "gpu-few"), timeout=60)
    wait_for("the large one is refused", lambda: "Insufficient nvidia.com/gpu" in _why(apis[0], "gpu-many"), timeout=60)


def test_kill_9_from_the_node_ends_process_1_of_a_container(clusters: list[LocalCluster], apis: list[KubeApi]) -> None:
    status = apis[1].get(f"{_PODS}/web")["status"]["containerStatuses"][0]
    assert any("httpd" in command for command in node.processes(clusters[1], status["containerID"]).values())
    node.kill(clusters[1], status["containerID"])

    def killed() -> bool:
        now = apis[1].get(f"{_PODS}/web")["status"]["containerStatuses"][0]
        return bool(now["restartCount"] == 1 and now["lastState"]["terminated"]["exitCode"] == 137)

    wait_for("the container was killed and started again", killed, timeout=60)


def test_the_api_server_comes_back_with_its_objects(clusters: list[LocalCluster], apis: list[KubeApi]) -> None:
    uid = apis[0].get("/api/v1/namespaces/demo")["metadata"]["uid"]
    clusters[0].restart_apiserver(down_seconds=1)
    assert apis[0].get("/api/v1/namespaces/demo")["metadata"]["uid"] == uid


def test_a_diagnosis_has_events_and_logs(clusters: list[LocalCluster], apis: list[KubeApi]) -> None:
    text = clusters[0].diagnose(lines=20)
    assert "Insufficient nvidia.com/gpu" in text or "gpu-many" in text
    assert "--- kubelet.log" in text


def test_down_leaves_nothing_and_the_other_cluster_alone(clusters: list[LocalCluster], apis: list[KubeApi]) -> None:
    clusters[0].delete()
    assert _left(_NAMES[0]) == []
    assert _fetch(clusters[1], "http://web.demo/name") == _NAMES[1]
    clusters[0].delete()


def test_down_after_kill_9_of_everything_leaves_nothing(clusters: list[LocalCluster], apis: list[KubeApi]) -> None:
    for pid in cgroups.processes(_NAMES[1]):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    assert not clusters[1].status().ready
    clusters[1].delete()
    assert _left(_NAMES[1]) == []


def test_down_after_kill_9_of_up_leaves_nothing() -> None:
    up = subprocess.Popen(
        [sys.executable, "-m", "e2e.cluster", "up", "--name", _NAMES[0]], cwd=repo_root(), stderr=subprocess.DEVNULL
    )
    wait_for("process 1", lambda: find_init(_NAMES[0]) is not None, timeout=60, interval=0.01)
    up.kill()
    up.wait()
    LocalCluster(_NAMES[0]).delete()
    assert _left(_NAMES[0]) == []


def _left(name: str) -> list[str]:
    """What a cluster left on this host."""
    left = [str(path) for path in (cluster_dir(name),) if path.exists()]
    left += [f"process {pid}" for pid in cgroups.processes(name)]
    if cgroups.exists(name):
        left.append("cgroup")
    for alias in Path("/sys/class/net").glob("*/ifalias"):
        if alias.read_text().strip() == layout.interface_alias(name):
            left.append(f"interface {alias.parent.name}")
    marker = f"{cluster_dir(name)}/"
    left += [line for line in Path("/proc/mounts").read_text().splitlines() if marker in line]
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in command.read_bytes():
                left.append(f"process {command.parent.name}")
        except OSError:
            continue
    if "kube-proxy" in subprocess.run([which("nft"), "list", "tables"], capture_output=True, text=True).stdout:
        left.append("nft table")
    return left


def _fetch(cluster: Cluster, url: str) -> str:
    """Ask from inside the web server's pod. No time-out: Debian's static busybox crashes with `wget -T`."""
    inside = ["exec", "--namespace=demo", "web", "--", "/bin/wget", "-q", "-O-", url]
    return kubectl(cluster.kubeconfig(), *inside, check=False).stdout.strip()


def _pod_ready(api: KubeApi, name: str) -> bool:
    conditions = api.get(f"{_PODS}/{name}")["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _why(api: KubeApi, name: str) -> str:
    conditions = api.get(f"{_PODS}/{name}")["status"].get("conditions", [])
    return " ".join(each.get("message", "") for each in conditions)


def _object(version: str, kind: str, name: str, **rest: Any) -> dict[str, Any]:
    metadata = {"name": name, **rest.pop("metadata", {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def _container(image: LoadedImage, script: str) -> dict[str, Any]:
    return {
        "name": "main",
        "image": image.by_digest,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", script],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _pod(name: str, container: dict[str, Any], volumes: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    context = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    spec: dict[str, Any] = {"containers": [container], "volumes": volumes or [], "securityContext": context}
    spec["terminationGracePeriodSeconds"] = 1
    return _object("v1", "Pod", name, metadata={"labels": {"app": name}}, spec=spec)


def _web(image: LoadedImage, *, text: str) -> list[tuple[str, dict[str, Any]]]:
    container = _container(image, f"echo {text} > /data/name; exec /bin/busybox httpd -f -p 8080 -h /data")
    container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    container["readinessProbe"] = {"httpGet": {"path": "/name", "port": 8080}, "periodSeconds": 1}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    service = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    base = "/api/v1/namespaces/demo"
    return [
        (f"{base}/persistentvolumeclaims/data", _object("v1", "PersistentVolumeClaim", "data", spec=claim)),
        (f"{base}/services/web", _object("v1", "Service", "web", spec=service)),
        (f"{base}/pods/web", _pod("web", container, volumes)),
    ]
