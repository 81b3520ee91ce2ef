"""How long a failure takes to show in the FederatedJob: from the timestamps of the objects, on a real cluster.

A reason that changes without a transition of its condition (image_pull, unschedulable) is timed when it is seen.
Needs the cluster of the end-to-end tests (it is started if it is not there). The API server keeps whole seconds.
`scripts/bench latency`; the last line is one JSON object.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from e2e.harness import faults, install, objects, session
from e2e.harness.federation import Federation
from e2e.harness.kube import Object, condition, wait_until
from e2e.harness.session import OWNERS

TWO = OWNERS[:2]
SLOW = {"config": {"fail": "slow", "seconds": "0.5"}}


def main() -> None:
    """Cause each failure once and print how long its condition took."""
    with tempfile.TemporaryDirectory() as scratch, session.installed(Path(scratch)) as found:
        cases: dict[str, Callable[[Federation, str], float]] = {
            "app_import_error": import_error,
            "dataset_missing": missing_dataset,
            "wrong_label": wrong_label,
            "different_features": different_features,
            "non_finite_update": non_finite_update,
            "image_pull": image_pull,
            "unschedulable": unschedulable,
            "out_of_memory": out_of_memory,
            "owner_left": owner_left,
            "aggregator_killed_beyond_backoff": lambda f, n: aggregator_killed(f, n, found.cluster),
        }
        seconds: dict[str, float] = {}
        for name, run in cases.items():
            federation = Federation(found.kube, found.trainer)
            try:
                seconds[name] = run(federation, f"latency-{name.replace('_', '-')}"[:40])
                print(f"{name:36} {seconds[name]:5.0f} s", flush=True)
            finally:
                federation.close()
    metrics = {**seconds, "max": max(seconds.values())}
    print(json.dumps({"name": "latency", "metrics": metrics}))


def moment(text: str) -> datetime:
    """A Kubernetes timestamp."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def since(cause: str, found: Object) -> float:
    """Seconds from a cause's timestamp to a condition's transition."""
    return (moment(found["lastTransitionTime"]) - moment(cause)).total_seconds()


def ended(federation: Federation, name: str, container: str) -> str:
    """When a container of the job's first ended badly."""

    def look() -> str | None:
        for pod in federation.kube.list("pods", selector=f"hanse.dev/job={name}"):
            status: dict[str, Any] = pod["status"]
            for found in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
                end = found["state"].get("terminated") or found.get("lastState", {}).get("terminated")
                if found["name"] == container and end and end["exitCode"] != 0:
                    return str(end["finishedAt"])
        return None

    return wait_until(f"{container} of {name} ended", look, timeout=120, every=0.2)


def import_error(federation: Federation, name: str) -> float:
    """The init container's import fails."""
    federation.submit(name, TWO, app={"clientApp": "no_such_module:app"})
    cause = ended(federation, name, "app-check")
    return since(cause, condition(federation.wait(name, "Failed"), "Failed"))


def missing_dataset(federation: Federation, name: str) -> float:
    """The trainer finds no file."""
    datasets = [objects.dataset("numbers", "numbers", "no-such-file.csv")]
    federation.kube.apply(objects.participant("ghost", datasets, namespace=OWNERS[0]))
    job = objects.federated_job(name, federation.trainer, TWO)
    job["spec"]["participants"][0]["participantRef"]["name"] = "ghost"
    federation.jobs.append(name)
    federation.kube.apply(job)
    cause = ended(federation, name, "trainer")
    return since(cause, condition(federation.wait(name, "Failed"), "Failed"))


def tabular(federation: Federation, name: str, features: list[str], label: str) -> None:
    """A job of the tabular app whose participants declare these features, one each."""
    spec = objects.federated_job(
        name, federation.trainer, TWO, dataset="pairs", app={"clientApp": "hanse.runtime.apps.tabular:app"}
    )
    with tempfile.TemporaryDirectory() as scratch:
        for index, feature in enumerate(features):
            data = Path(scratch) / "pairs.csv"
            data.write_text(f"id,{feature},label\n" + "".join(f"{i},{i % 7},{i % 2}\n" for i in range(40)))
            claim = f"pairs-{feature}"
            install.load_data(federation.kube, TWO[index], claim, {"pairs.csv": data}, federation.trainer)
            schema = {"id": "id", "label": label, "features": [feature]}
            datasets = [objects.dataset("pairs", claim, "pairs.csv", schema)]
            federation.kube.apply(objects.participant("pairs", datasets, namespace=TWO[index]))
            spec["spec"]["participants"][index]["participantRef"]["name"] = "pairs"
    federation.jobs.append(name)
    federation.kube.apply(spec)


def wrong_label(federation: Federation, name: str) -> float:
    """The dataset has no such column: from the trainer's exit."""
    tabular(federation, name, ["value", "value"], "no-such-column")
    cause = ended(federation, name, "trainer")
    return since(cause, condition(federation.wait(name, "Failed"), "Failed"))


def different_features(federation: Federation, name: str) -> float:
    """Seen before round 1: from the launcher's exit."""
    tabular(federation, name, ["value", "other"], "label")
    cause = ended(federation, name, "launcher")
    return since(cause, condition(federation.wait(name, "Failed"), "Failed"))


def non_finite_update(federation: Federation, name: str) -> float:
    """Refused by the gate, with onDropout Fail: from the launcher's exit."""
    config = {"fail": "nan-update", "fail-participant": "1", "fail-round": "2"}
    federation.submit(name, TWO, onDropout="Fail", app={"config": config})
    cause = ended(federation, name, "launcher")
    return since(cause, condition(federation.wait(name, "Failed"), "Failed"))


def image_pull(federation: Federation, name: str) -> float:
    """From the pod's creation to ImagePullFailed."""
    federation.submit(name, TWO, image="hanse/no-such-image@sha256:" + "0" * 64)
    federation.wait_reason(name, "ParticipantsReady", "ImagePullFailed")
    now = datetime.now().astimezone()
    pods = federation.kube.list("pods", selector=f"hanse.dev/job={name},hanse.dev/role=client")
    return (now - moment(min(p["metadata"]["creationTimestamp"] for p in pods))).total_seconds()


def unschedulable(federation: Federation, name: str) -> float:
    """From the pod's creation to the scheduler's words."""
    datasets = [objects.dataset("numbers", "numbers", "numbers.csv")]
    template = {"nodeSelector": {"no-such-label": "true"}}
    federation.kube.apply(objects.participant("absent", datasets, namespace=OWNERS[0], pod_template=template))
    job = objects.federated_job(name, federation.trainer, TWO)
    job["spec"]["participants"][0]["participantRef"]["name"] = "absent"
    federation.jobs.append(name)
    federation.kube.apply(job)
    federation.wait_reason(name, "ParticipantsReady", "Unschedulable")
    now = datetime.now().astimezone()
    pods = federation.kube.list("pods", OWNERS[0], f"hanse.dev/job={name}")
    return (now - moment(pods[0]["metadata"]["creationTimestamp"])).total_seconds()


def out_of_memory(federation: Federation, name: str) -> float:
    """The kernel kills the ClientApp; from the trainer's exit."""
    datasets = [objects.dataset("numbers", "numbers", "numbers.csv")]
    template = {"resources": {"limits": {"memory": "256Mi"}}}
    federation.kube.apply(objects.participant("small", datasets, namespace=OWNERS[0], pod_template=template))
    job = objects.federated_job(name, federation.trainer, TWO, app={"config": {"fail": "oom", "fail-participant": "0"}})
    job["spec"]["participants"][0]["participantRef"]["name"] = "small"
    federation.jobs.append(name)
    federation.kube.apply(job)
    cause = ended(federation, name, "trainer")
    return since(cause, condition(federation.wait(name, "Failed"), "Failed"))


def owner_left(federation: Federation, name: str) -> float:
    """From the Participation's deletion to SubsetOnly."""
    federation.submit(name, TWO, rounds=1000, quorum=1, app=SLOW)
    federation.wait_round(name, 1)
    left = federation.participation(name, OWNERS[1])["metadata"]["name"]
    before = datetime.now().astimezone().isoformat(timespec="seconds")
    federation.kube.delete("participation", left, OWNERS[1], wait=False)
    return since(before, federation.wait_reason(name, "FullParticipation", "SubsetOnly"))


def aggregator_killed(federation: Federation, name: str, cluster: Any) -> float:
    """No resume is allowed: from the launcher's exit to Failed."""
    federation.submit(name, TWO, rounds=1000, backoffLimit=0, app=SLOW)
    federation.wait_round(name, 1)
    faults.kill(cluster, federation.server_pod(name), "hanse.runtime.flower.aggregator")
    cause = ended(federation, name, "launcher")
    return since(cause, condition(federation.wait(name, "Failed"), "Failed"))


if __name__ == "__main__":
    main()
