"""Wrong manifests: refused by the API server, or not accepted with a reason and the next step; nothing starts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from e2e.harness import objects
from e2e.harness.federation import Federation
from e2e.harness.kube import KubectlError, condition, wait_until
from e2e.harness.objects import COORDINATOR
from e2e.harness.session import OWNERS

Change = Callable[[dict[str, Any]], object]
DIGEST = "hanse/trainer-cpu@sha256:" + "1" * 64


def many(spec: dict[str, Any], count: int) -> None:
    """So many participants, all named differently."""
    first = spec["participants"][0]
    spec["participants"] = [{**first, "name": f"p-{i}"} for i in range(count)]


# Each is a change of a valid spec, and a part of what the API server must say.
REFUSED_BY_THE_API_SERVER: dict[str, tuple[Change, str]] = {
    "negative rounds": (lambda s: s.update(rounds=-1), "rounds"),
    "zero rounds": (lambda s: s.update(rounds=0), "rounds"),
    "rounds as text": (lambda s: s.update(rounds="many"), "rounds"),
    "no rounds": (lambda s: s.pop("rounds"), "rounds"),
    "quorum over participants": (lambda s: s.update(quorum=3), "quorum"),
    "quorum of zero": (lambda s: s.update(quorum=0), "quorum"),
    "no participants": (lambda s: s.update(participants=[]), "participants"),
    "1,025 participants": (lambda s: many(s, 1025), "participants"),
    "a participant twice": (lambda s: s["participants"].append(s["participants"][0]), "participants"),
    "a participant's name in capitals": (lambda s: s["participants"][0].update(name="Bank_A"), "participants[0].name"),
    "a participant's name too long": (lambda s: s["participants"][0].update(name="a" * 41), "participants[0].name"),
    "a huge string": (lambda s: s["app"].update(clientApp="a" * 100_000 + ":b"), "clientApp"),
    "an app without attribute": (lambda s: s["app"].update(clientApp="module"), "clientApp"),
    "no image": (lambda s: s["app"].pop("image"), "image"),
    "a huge config value": (lambda s: s["app"].update(config={"key": "x" * 2000}), "config"),
    "an unknown strategy": (lambda s: s.update(aggregation={"strategy": "FedMagic"}), "strategy"),
    "a parameter of another strategy": (lambda s: s.update(aggregation={"proximalMu": "0.1"}), "proximalMu"),
    "a negative deadline": (lambda s: s.update(activeDeadlineSeconds=-5), "activeDeadlineSeconds"),
    "a stop rule without number": (
        lambda s: s.update(stopWhen=[{"metric": "auc", "operator": ">=", "value": "high"}]),
        "value",
    ),
    "a stop rule with equals": (
        lambda s: s.update(stopWhen=[{"metric": "auc", "operator": "==", "value": "0.5"}]),
        "operator",
    ),
    "two outputs": (lambda s: s.update(output={"claimName": "a", "storage": {"size": "1Gi"}}), "output"),
    "a claim in another namespace": (lambda s: s.update(output={"claimName": "other/models"}), "claimName"),
    "an unknown field": (lambda s: s.update(epochs=3), "epochs"),
    "an unknown dropout policy": (lambda s: s.update(onDropout="Ignore"), "onDropout"),
    "no checkpoint interval": (lambda s: s.update(checkpoint={"everyRounds": 0}), "everyRounds"),
}


@pytest.mark.parametrize("case", REFUSED_BY_THE_API_SERVER)
def test_refused_by_the_api_server(federation: Federation, case: str) -> None:
    change, field = REFUSED_BY_THE_API_SERVER[case]
    job = objects.federated_job("wrong", DIGEST, OWNERS[:2])
    change(job["spec"])
    with pytest.raises(KubectlError) as refused:
        federation.kube.create(job)
    assert field in str(refused.value)


# Each is a change of a valid spec, the reason in Accepted, and a part of its message: the object and the next step.
NOT_ACCEPTED: dict[str, tuple[Change, str, str]] = {
    "unknown participant": (
        lambda s: s["participants"][1]["participantRef"].update(name="nobody"),
        "ParticipantNotFound",
        "nobody",
    ),
    "unknown dataset": (lambda s: s["participants"][1].update(dataset="secrets"), "DatasetNotDeclared", "secrets"),
    "one owner twice": (
        lambda s: s["participants"][1].update(participantRef=s["participants"][0]["participantRef"]),
        "DuplicateParticipant",
        OWNERS[0],
    ),
    "an unknown built-in app": (
        lambda s: s["app"].update(clientApp="hanse.runtime.apps.tabluar:app"),
        "InvalidSpec",
        "tabluar",
    ),
    "an image by tag": (lambda s: s["app"].update(image="hanse/trainer-cpu:latest"), "ImageNotPinned", "digest"),
}


@pytest.mark.parametrize("case", NOT_ACCEPTED)
def test_not_accepted_and_nothing_started(federation: Federation, name: str, case: str) -> None:
    change, reason, part = NOT_ACCEPTED[case]
    job = objects.federated_job(name, federation.trainer, OWNERS[:2])
    job["spec"] = copy.deepcopy(job["spec"])
    change(job["spec"])
    federation.jobs.append(name)
    federation.kube.apply(job)
    found = federation.wait_reason(name, "Accepted", reason)
    assert found["status"] == "False"
    assert part in found["message"]
    assert federation.leftovers(federation.uid(name)) == []
    assert federation.job(name)["status"]["summary"]["state"] == "Refused"


def test_namespace_not_allowed_creates_nothing_at_the_owner(federation: Federation, name: str) -> None:
    """An owner whose policy lists no namespace takes part in nobody's jobs; when it lists ours the job heals."""
    datasets = [objects.dataset("numbers", "numbers", "numbers.csv")]
    federation.kube.apply(objects.participant("private", datasets, namespace=OWNERS[2], namespaces=()))
    job = objects.federated_job(name, federation.trainer, OWNERS[:2])
    job["spec"]["participants"][1]["participantRef"] = {"namespace": OWNERS[2], "name": "private"}
    federation.jobs.append(name)
    federation.kube.apply(job)
    found = federation.wait_reason(name, "Accepted", "NamespaceNotAllowed")
    assert COORDINATOR in found["message"]
    assert federation.leftovers(federation.uid(name)) == []
    federation.kube.apply(objects.participant("private", datasets, namespace=OWNERS[2]))
    federation.wait(name, "Complete")


def test_a_participant_that_appears_later_heals_the_job(federation: Federation, name: str) -> None:
    federation.kube.delete("participant", "late", OWNERS[2])
    job = objects.federated_job(name, federation.trainer, OWNERS[:1])
    job["spec"]["participants"][0]["participantRef"] = {"namespace": OWNERS[2], "name": "late"}
    federation.jobs.append(name)
    federation.kube.apply(job)
    federation.wait_reason(name, "Accepted", "ParticipantNotFound")
    datasets = [objects.dataset("numbers", "numbers", "numbers.csv")]
    federation.kube.apply(objects.participant("late", datasets, namespace=OWNERS[2]))
    assert condition(federation.wait(name, "Complete"), "Accepted")["status"] == "True"


def test_the_spec_of_a_started_job_does_not_change(federation: Federation, name: str) -> None:
    """The API server refuses the edit, whatever the operator does at that moment."""
    federation.submit(name, OWNERS[:2], rounds=100, app={"config": {"fail": "slow", "seconds": "0.5"}})
    wait_until("the job has started", lambda: federation.job(name).get("status", {}).get("startTime"), timeout=60)
    with pytest.raises(KubectlError, match=r"spec\.rounds cannot be changed once the job has started"):
        federation.kube.patch("federatedjob", name, COORDINATOR, {"spec": {"rounds": 3}})
    federation.kube.patch("federatedjob", name, COORDINATOR, {"spec": {"ttlSecondsAfterFinished": 600}})


def test_a_dataset_path_outside_the_volume_is_refused(federation: Federation) -> None:
    for path in ("../etc/passwd", "/etc/passwd", "a/../../b"):
        with pytest.raises(KubectlError, match="path"):
            federation.kube.create(
                objects.participant("sneaky", [objects.dataset("x", "numbers", path)], namespace=OWNERS[0])
            )
