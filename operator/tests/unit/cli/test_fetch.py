"""`hanse model get`: the reader pod, what it waits for, and that only the job's own model is kept."""

import hashlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from hanse.api.job import ModelStatus
from hanse.cli.errors import ClusterError, ModelError
from hanse.cli.fetch import fetch_model, finished_model, reader_pod, wait_until_running, waiting_for
from hanse.cli.kube import Cluster
from tests.unit.cli.samples import job

CONTENT = b"model" * 1000
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
IMAGE = "hanse/server@sha256:" + "1" * 64


def finished(digest: str = DIGEST) -> dict[str, Any]:
    images = {"server": IMAGE, "gate": "g", "trainer": "t"}
    model = {"claim": "credit-state", "path": "output/model.safetensors", "digest": digest, "bytes": len(CONTENT)}
    return {**job(), "status": {"images": images, "model": model, "summary": {"state": "Complete"}}}


class FakeCluster:
    """An API server with one job and, once created, one pod that runs; the door is replaced, not the network."""

    def __init__(self, wire: dict[str, Any], code: int = 0, content: bytes = CONTENT) -> None:
        self.wire, self.code, self.content = wire, code, content
        self.pods: dict[str, dict[str, Any]] = {}

    def job(self, namespace: str, name: str) -> dict[str, Any]:
        return self.wire

    def create_pod(self, pod: dict[str, Any]) -> None:
        self.pods[pod["metadata"]["name"]] = pod

    def pod_status(self, namespace: str, name: str) -> dict[str, Any]:
        return {"phase": "Running"}

    def delete_pod(self, namespace: str, name: str) -> None:
        del self.pods[name]

    def run_in_pod(self, namespace: str, name: str, command: list[str], stdout: BinaryIO, stderr: BinaryIO) -> int:
        assert command[-1] == "/model/output/model.safetensors"
        for start in range(0, len(self.content), 999):
            stdout.write(self.content[start : start + 999])
        stderr.write(b"Traceback\nFileNotFoundError: model" if self.code else b"")
        return self.code


def fetch(cluster: FakeCluster, target: Path) -> ModelStatus:
    return fetch_model(cast(Cluster, cluster), "consortium", "credit", target)


def test_the_model_arrives_and_the_pod_goes(tmp_path: Path) -> None:
    cluster = FakeCluster(finished())
    model = fetch(cluster, tmp_path / "new" / "m.safetensors")
    assert (tmp_path / "new" / "m.safetensors").read_bytes() == CONTENT
    assert model.digest == DIGEST
    assert cluster.pods == {}


@pytest.mark.parametrize(
    ("cluster", "says"),
    [
        (FakeCluster(finished(), content=CONTENT[:-1]), "is not the model of the job"),
        (FakeCluster(finished("sha256:" + "0" * 64)), "is not the model of the job"),
        (FakeCluster(finished(), code=1), "FileNotFoundError"),
    ],
)
def test_anything_else_is_refused_and_leaves_nothing(tmp_path: Path, cluster: FakeCluster, says: str) -> None:
    target = tmp_path / "m.safetensors"
    target.write_bytes(b"older")
    with pytest.raises(ModelError, match=says):
        fetch(cluster, target)
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    assert target.read_bytes() == b"older"
    assert cluster.pods == {}


def test_a_job_without_a_model_says_so() -> None:
    with pytest.raises(ModelError, match="no model"):
        finished_model({**job(), "status": {"summary": {"state": "Running"}}})


@pytest.mark.parametrize(
    ("release", "says"), [("Never", "nobody has the model"), ("Participants", "the participants have the model")]
)
def test_a_model_that_goes_elsewhere_is_not_to_be_waited_for(release: str, says: str) -> None:
    status = {"summary": {"state": "Complete"}, "privacy": {"encryption": "BFV", "modelRelease": release}}
    with pytest.raises(ModelError, match="gives the coordinator no model") as refused:
        finished_model({**job(), "status": status})
    assert says in refused.value.next_step


def test_the_reader_pod_is_restricted_and_reads_only() -> None:
    model, image = finished_model(finished())
    pod = reader_pod("consortium", "p", "credit", model, image)
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    assert container["image"] == IMAGE
    assert container["volumeMounts"][0]["readOnly"] is True
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["volumes"][0]["persistentVolumeClaim"]["claimName"] == "credit-state"


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"phase": "Pending", "conditions": [{"status": "False", "message": "0/1 nodes: claim busy"}]}, "claim busy"),
        (
            {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]},
            "ErrImagePull",
        ),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        ({}, "unknown"),
    ],
)
def test_why_a_pod_does_not_run(status: dict[str, Any], why: str) -> None:
    assert why in waiting_for(status)
    now = iter(range(0, 10_000, 50))
    with pytest.raises(ClusterError, match=why):
        wait_until_running(lambda: status, clock=lambda: next(now), wait=lambda _: None)


def test_waiting_ends_when_the_pod_runs() -> None:
    phases = iter([{"phase": "Pending"}, {"phase": "Running"}])
    wait_until_running(lambda: next(phases), clock=lambda: 0.0, wait=lambda _: None)
