"""`hanse` and a real kube-apiserver: what it reads, what it may create, and how refusals are worded."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from e2e.cluster.apiserver import ApiServer
from e2e.cluster.kubeapi import KubeApi
from hanse.api.job import ModelStatus
from hanse.cli.errors import ClusterError
from hanse.cli.fetch import reader_pod
from hanse.cli.kube import Cluster, connect
from hanse.cli.ownerrbac import manifests
from hanse.cli.screen import Screen
from hanse.cli.watch import list_jobs, watch_job
from tests.unit.cli.samples import job

FJ = "/apis/hanse.dev/v1alpha1/namespaces/{}/federatedjobs"


@pytest.fixture
def cluster(apiserver: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig))
    with connect() as found:
        yield found


def create_job(kube: KubeApi, namespace: str) -> dict[str, Any]:
    manifest = job()
    manifest["metadata"]["namespace"] = namespace
    return kube.create(FJ.format(namespace), manifest)


def set_state(kubectl: Callable[..., Any], namespace: str, state: str) -> None:
    patch = f'{{"status": {{"summary": {{"state": "{state}", "round": "3/3"}}}}}}'
    kubectl("-n", namespace, "patch", "fj", "credit", "--subresource=status", "--type=merge", "-p", patch)


def printed(console: Console) -> str:
    return cast(io.StringIO, console.file).getvalue()


def test_jobs_of_one_namespace_and_of_all(
    cluster: Cluster, kube: KubeApi, namespace: str, kubectl: Callable[..., Any]
) -> None:
    create_job(kube, namespace)
    set_state(kubectl, namespace, "Running")
    for asked in (namespace, None):
        console = Console(file=io.StringIO(), width=150)
        list_jobs(cluster, asked, console)
        (row,) = [line.split() for line in printed(console).splitlines() if line.startswith(namespace)]
        assert row[:4] == [namespace, "credit", "Running", "3/3"]


def test_a_job_is_watched_to_its_end(
    cluster: Cluster, kube: KubeApi, namespace: str, kubectl: Callable[..., Any]
) -> None:
    create_job(kube, namespace)
    states = iter(["Running", "Complete"])
    console = Console(file=io.StringIO(), width=100)
    with Screen(console) as screen:
        watch_job(cluster, namespace, "credit", screen, wait=lambda _: set_state(kubectl, namespace, next(states)))
    assert printed(console).splitlines() == ["credit: Pending", "credit: Running", "credit: Complete"]


def test_what_is_not_there_is_said_with_the_next_step(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(ClusterError, match="not found") as error:
        cluster.job(namespace, "none")
    assert "-n" in error.value.next_step


def test_a_server_that_is_not_there(apiserver: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = apiserver.kubeconfig.read_text()
    address = text.split("https://")[1].split('"')[0].split()[0]
    (tmp_path / "config").write_text(text.replace(address, "127.0.0.1:1"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with connect() as cluster, pytest.raises(ClusterError, match="does not answer"):
        cluster.jobs(None)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ClusterError, match="no cluster"), connect():
        pass


def test_the_reader_pod_is_admitted_where_pods_are_restricted(
    cluster: Cluster, namespace: str, kubectl: Callable[..., Any]
) -> None:
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    kubectl("-n", namespace, "create", "serviceaccount", "default")
    model = ModelStatus(claim="models", path="credit/model.safetensors", digest="sha256:0")
    cluster.create_pod(reader_pod(namespace, "reader", "credit", model, "hanse/server"))
    assert cluster.pod_status(namespace, "reader")["phase"] == "Pending"
    cluster.delete_pod(namespace, "reader")
    cluster.delete_pod(namespace, "reader")
    with pytest.raises(ClusterError, match="not found"):
        cluster.pod_status(namespace, "reader")


def test_an_owner_can_apply_what_is_printed(namespace: str, kubectl: Callable[..., Any]) -> None:
    text = manifests(namespace, "hanse-system")
    applied = kubectl("apply", "-f", "-", stdin=text).stdout
    assert applied.count("created") == 5
    allowed = kubectl(
        *("auth", "can-i", "create", "participations.hanse.dev", "-n", namespace),
        "--as=system:serviceaccount:hanse-system:hanse-operator",
    )
    assert allowed.stdout.strip() == "yes"
