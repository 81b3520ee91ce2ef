"""Faults: whatever is killed, the job completes with the right number of rounds and a truthful status."""

from __future__ import annotations

import pytest

from e2e.cluster.backend import Cluster
from e2e.harness import faults
from e2e.harness.federation import OPERATOR_NAMESPACE, Federation, completed, participant_status
from e2e.harness.kube import Kube, Object, condition, is_true, wait_until
from e2e.harness.objects import COORDINATOR
from e2e.harness.session import OWNERS

ROUNDS = 12
SLOW = {"config": {"fail": "slow", "seconds": "0.5"}}


def start(federation: Federation, name: str, *, owners: int = 2, **spec: object) -> list[Object]:
    """A job of the counting app with three rounds done; returns their records."""
    federation.submit(name, OWNERS[:owners], rounds=ROUNDS, app=SLOW, quorum=1, **spec)
    rounds: list[Object] = federation.wait_round(name, 3)["status"]["rounds"]
    return rounds


def ends_well(federation: Federation, name: str, known: list[Object]) -> None:
    """Complete, all rounds counted once, and what was done before the fault was not done again."""
    job = federation.wait(name, "Complete", timeout=300)
    assert completed(job) == ROUNDS
    numbers = [r["number"] for r in job["status"]["rounds"]]
    assert sorted(numbers) == list(range(1, ROUNDS + 1)), "each round is counted once"
    now = {r["number"]: r for r in job["status"]["rounds"]}
    assert [now[r["number"]] for r in known] == known, "a checkpointed round keeps its record, its duration too"
    assert job["status"]["model"]["digest"].startswith("sha256:")


@pytest.mark.parametrize("process", ["hanse.runtime.superlink", "hanse.runtime.flower.aggregator"])
def test_server_process_killed(federation: Federation, cluster: Cluster, name: str, process: str) -> None:
    """SuperLink: restarted by the kubelet, the run goes on. Aggregator: a new run from the checkpoint."""
    known = start(federation, name)
    faults.kill(cluster, federation.server_pod(name), process)
    ends_well(federation, name, known)


def test_server_pod_killed_resumes_from_the_checkpoint(federation: Federation, cluster: Cluster, name: str) -> None:
    """The launcher is PID 1: its pod fails, the Job makes another, which goes on from the volume."""
    known = start(federation, name)
    faults.kill(cluster, federation.server_pod(name), "hanse.runtime.server")
    ends_well(federation, name, known)


def test_gate_killed(federation: Federation, cluster: Cluster, name: str) -> None:
    """The gate is a native sidecar: it comes back with the same key, as the same node."""
    known = start(federation, name)
    faults.kill(cluster, federation.client_pod(name, OWNERS[0]), "hanse.runtime.gate")
    ends_well(federation, name, known)
    assert participant_status(federation.job(name), OWNERS[0])["roundsContributed"] >= ROUNDS - 4


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_trainer_stopped(federation: Federation, cluster: Cluster, name: str, signal: str) -> None:
    """Killed or drained: an error reply, never silence; its Job makes another pod."""
    known = start(federation, name, backoffLimit=0 if signal == "TERM" else 3)
    faults.kill(cluster, federation.client_pod(name, OWNERS[0]), "hanse.runtime.trainer", signal)
    ends_well(federation, name, known)


def test_node_cordoned_client_evicted(federation: Federation, name: str) -> None:
    """An eviction is a disruption: it does not count, and the pod comes back when the node takes pods again."""
    kube = federation.kube
    known = start(federation, name, backoffLimit=0)
    node = kube.list("nodes")[0]["metadata"]["name"]
    pod = federation.client_pod(name, OWNERS[0])
    kube.run("cordon", node)
    try:
        evict(kube, pod["metadata"]["name"], OWNERS[0])
        wait_until(
            "the evicted pod is gone", lambda: kube.find("pod", pod["metadata"]["name"], OWNERS[0]) is None, timeout=60
        )
        wait_until(
            "the next pod waits for a node",
            lambda: [
                p for p in kube.list("pods", OWNERS[0], f"hanse.dev/job={name}") if p["status"]["phase"] == "Pending"
            ],
            timeout=60,
        )
    finally:
        kube.run("uncordon", node)
    ends_well(federation, name, known)


def evict(kube: Kube, pod: str, namespace: str) -> None:
    """The Eviction API, as `kubectl drain` uses it."""
    body = (
        '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"' + pod + '","namespace":"' + namespace + '"}}'
    )
    kube.run("create", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", "-f", "-", stdin=body)


def test_operator_killed_at_any_time(federation: Federation, cluster: Cluster, name: str) -> None:
    """Before the pods are there and in the middle of the rounds; what is alive is not deleted."""
    federation.submit(name, OWNERS[:2], rounds=ROUNDS, app=SLOW)
    restart_operator(federation.kube)
    known = federation.wait_round(name, 3)["status"]["rounds"]
    before = federation.server_pod(name)["metadata"]["uid"]
    restart_operator(federation.kube)
    ends_well(federation, name, known)
    pods = federation.kube.list("pods", COORDINATOR, f"hanse.dev/job={name}")
    assert before in [p["metadata"]["uid"] for p in pods], "the server pod outlived the operator"


def restart_operator(kube: Kube) -> None:
    """Delete the operator's pod without grace and wait for the next one."""
    kube.run(
        "delete", "pods", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/name=hanse", "--force", "--grace-period=0"
    )
    kube.run("rollout", "status", "-n", OPERATOR_NAMESPACE, "deploy/hanse-operator", "--timeout=120s")


def test_job_ends_while_the_operator_is_down(federation: Federation, name: str) -> None:
    """The launcher's termination message holds the result."""
    kube = federation.kube
    federation.submit(name, OWNERS[:2], rounds=40, app=SLOW)
    federation.wait_round(name, 1)
    with faults.operator_down(kube):
        wait_until(
            "the server Job is complete",
            lambda: kube.get("job", f"{name}-server", COORDINATOR).get("status", {}).get("succeeded"),
            timeout=180,
        )
        assert not is_true(federation.job(name), "Complete")
    job = federation.wait(name, "Complete")
    assert completed(job) == 40
    # The kubelet keeps 4,096 bytes of it: the newest rounds, not all 20.
    assert max(r["number"] for r in job["status"]["rounds"]) == 40
    assert job["status"]["model"]["digest"].startswith("sha256:")


def test_apiserver_restarted(federation: Federation, cluster: Cluster, name: str) -> None:
    """Watches break, pushes of progress fail: the job does not."""
    known = start(federation, name)
    cluster.restart_apiserver()
    ends_well(federation, name, known)


def test_owner_deletes_its_participation(federation: Federation, name: str) -> None:
    """Deleting it means leaving: it is not made anew, and the quorum decides."""
    known = start(federation, name, owners=3)
    left = federation.participation(name, OWNERS[2])["metadata"]
    federation.kube.delete("participation", left["name"], OWNERS[2])
    federation.wait_reason(name, "FullParticipation", "SubsetOnly")
    ends_well(federation, name, known)
    job = federation.job(name)
    assert federation.kube.find("participation", left["name"], OWNERS[2]) is None
    assert OWNERS[2] in condition(job, "FullParticipation")["message"]
    assert participant_status(job, OWNERS[2])["reason"] == "ParticipantLeft"
