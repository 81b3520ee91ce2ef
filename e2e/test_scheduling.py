"""What owners ask of the scheduler arrives on the pods, and what the scheduler says arrives in the job."""

from __future__ import annotations

from typing import Any

from e2e.harness import objects
from e2e.harness.federation import Federation
from e2e.harness.kube import wait_until
from e2e.harness.objects import COORDINATOR
from e2e.harness.session import OWNERS

NUMBERS = [objects.dataset("numbers", "numbers", "numbers.csv")]


def with_template(federation: Federation, name: str, template: objects.Object, **spec: Any) -> objects.Object:
    """A job of one participant whose pods have this template; returns the client Job."""
    federation.kube.apply(objects.participant("templated", NUMBERS, namespace=OWNERS[0], pod_template=template))
    job = objects.federated_job(name, federation.trainer, [OWNERS[0]], **spec)
    job["spec"]["participants"][0]["participantRef"]["name"] = "templated"
    federation.jobs.append(name)
    federation.kube.apply(job)
    found = wait_until(
        "the client Job", lambda: federation.kube.list("jobs", OWNERS[0], f"hanse.dev/job={name}"), timeout=90
    )
    return found[0]


def test_gpu_limit_and_what_the_scheduler_says(federation: Federation, name: str) -> None:
    template = {"resources": {"limits": {"nvidia.com/gpu": "64"}}}
    client = with_template(federation, name, template)
    trainer = next(c for c in client["spec"]["template"]["spec"]["containers"] if c["name"] == "trainer")
    assert trainer["resources"]["limits"]["nvidia.com/gpu"] == "64"
    found = federation.wait_reason(name, "ParticipantsReady", "Unschedulable")
    assert "Insufficient nvidia.com/gpu" in found["message"]
    wait_until("the job waits", lambda: federation.job(name)["status"]["summary"]["state"] == "Waiting", timeout=60)


def test_node_pool_fields_arrive_on_the_pod(federation: Federation, name: str) -> None:
    template = {
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }
    pod = with_template(federation, name, template)["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["tolerations"]


def test_queue_labels_and_quota(federation: Federation, name: str) -> None:
    """With a queue label a Job starts suspended, the queue admits it, and the operator never writes that field."""
    kube = federation.kube
    slow = {"config": {"fail": "slow", "seconds": "0.5"}}
    client = with_template(federation, name, {"queueName": "gpu-queue"}, rounds=10, app=slow)
    assert client["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpu-queue"
    assert client["spec"]["suspend"] is True
    waiting = federation.wait_reason(name, "QuotaReserved", "Queued")
    assert waiting["status"] == "False"
    kube.patch("job", client["metadata"]["name"], OWNERS[0], {"spec": {"suspend": False}})
    federation.wait(name, "QuotaReserved")
    federation.wait(name, "Complete")


def test_runtime_class_arrives_on_the_pod(federation: Federation, name: str) -> None:
    federation.kube.apply(
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "runc"}
    )
    pod = with_template(federation, name, {"runtimeClassName": "nvidia"})["spec"]["template"]["spec"]
    assert pod["runtimeClassName"] == "nvidia"
    federation.wait(name, "Complete")
    assert federation.kube.get("federatedjob", name, COORDINATOR)["status"]["summary"]["participants"] == "1/1"
