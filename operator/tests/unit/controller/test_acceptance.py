"""Refusals: the reason, the object that is named, that nothing is started, and that they heal themselves."""

from collections.abc import Callable
from typing import Any

import pytest

from hanse.controller import kinds
from tests.unit.controller import world
from tests.unit.controller.rig import Rig

Prepare = Callable[[Rig, dict[str, Any]], None]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def tag(rig: Rig, job: dict[str, Any]) -> None:
    job["spec"]["app"]["image"] = "hanse/trainer:latest"


def unknown_app(rig: Rig, job: dict[str, Any]) -> None:
    job["spec"]["app"]["clientApp"] = "hanse.runtime.apps.nonsense:app"


def nobody(rig: Rig, job: dict[str, Any]) -> None:
    rig.door.put(world.participant("bank-b", namespaces=()))


def elsewhere(rig: Rig, job: dict[str, Any]) -> None:
    rig.door.put(world.participant("bank-b", namespaces=("other",)))


def absent(rig: Rig, job: dict[str, Any]) -> None:
    rig.door.remove("Participant", "bank-b", "bank-b")


def undeclared(rig: Rig, job: dict[str, Any]) -> None:
    job["spec"]["participants"][1]["dataset"] = "cards"


def no_claim(rig: Rig, job: dict[str, Any]) -> None:
    rig.door.remove("PersistentVolumeClaim", "bank-b", "loans")


def no_output(rig: Rig, job: dict[str, Any]) -> None:
    job["spec"]["output"] = {"claimName": "models"}


def same_reference(rig: Rig, job: dict[str, Any]) -> None:
    job["spec"]["participants"][1]["participantRef"] = {"namespace": "bank-a", "name": "bank-a"}


def no_schema(rig: Rig, job: dict[str, Any]) -> None:
    job["spec"]["app"]["clientApp"] = "hanse.runtime.apps.tabular:app"
    datasets = [{"name": "loans", "source": {"persistentVolumeClaim": {"claimName": "loans"}, "path": "x"}}]
    rig.door.put(world.participant("bank-b", datasets=datasets))


def closed(rig: Rig, job: dict[str, Any]) -> None:
    rig.door.remove("Participant", "bank-b", "bank-b")
    rig.door.denied.add("bank-b")


CASES: list[tuple[Prepare, str, str]] = [
    (tag, "ImageNotPinned", "hanse/trainer:latest"),
    (unknown_app, "InvalidSpec", "hanse.runtime.apps.nonsense:app"),
    (nobody, "NamespaceNotAllowed", "bank-b/bank-b does not allow jobs of namespace consortium"),
    (elsewhere, "NamespaceNotAllowed", "spec.policy.namespaces"),
    (absent, "ParticipantNotFound", "bank-b/bank-b"),
    (undeclared, "DatasetNotDeclared", "it has: loans"),
    (no_claim, "DatasetNotFound", "'loans' in namespace bank-b"),
    (no_output, "VolumeNotReady", "'models' in namespace consortium"),
    (same_reference, "DuplicateParticipant", "bank-a/bank-a appears 2 times"),
    (no_schema, "DatasetInvalid", "spec.datasets[].schema"),
    (closed, "PermissionDenied", "hanse owner-rbac bank-b"),
]


@pytest.mark.parametrize(("prepare", "reason", "text"), CASES, ids=[c[0].__name__ for c in CASES])
async def test_refused(rig: Rig, prepare: Prepare, reason: str, text: str) -> None:
    rig.members("bank-a", "bank-b")
    job = world.federated_job()
    prepare(rig, job)
    rig.door.put(job)
    await rig.settle()
    assert rig.condition("Accepted") == ("False", reason)
    message = rig.message("Accepted")
    assert text in message
    assert len(message) <= 256
    assert rig.state == "Refused"
    assert rig.status["summary"]["reason"] == reason
    assert "startTime" not in rig.status
    made = {key for key in rig.door.objects if key[0] in ("Participation", "Job", "Secret", "ConfigMap", "Service")}
    assert made == set()
    assert reason in rig.events()


@pytest.mark.parametrize("prepare", [nobody, absent, no_claim, closed], ids=lambda p: p.__name__)
async def test_heals_when_the_world_does(rig: Rig, prepare: Prepare) -> None:
    rig.members("bank-a", "bank-b")
    job = world.federated_job()
    prepare(rig, job)
    rig.door.put(job)
    await rig.settle()
    assert rig.state == "Refused"
    rig.door.denied.clear()
    rig.members("bank-b")
    await rig.advance(6)
    assert rig.condition("Accepted") == ("True", "Accepted")
    assert rig.server_job() is not None


async def test_a_refusal_is_told_once(rig: Rig) -> None:
    rig.members("bank-a")
    rig.door.put(world.federated_job())
    await rig.settle()
    for _ in range(5):
        await rig.advance(6)
    assert rig.events().count("ParticipantNotFound") == 1
    assert rig.door.count("status", kinds.FEDERATED_JOB) == 1


async def test_a_spec_that_the_api_server_should_have_refused(rig: Rig) -> None:
    rig.members("bank-a", "bank-b")
    rig.door.put(world.federated_job(quorum=5))
    await rig.settle()
    assert rig.condition("Accepted") == ("False", "InvalidSpec")
    assert "quorum" in rig.message("Accepted")


async def test_claims_of_owners_who_do_not_allow_the_job_are_not_looked_at(rig: Rig) -> None:
    rig.members("bank-a")
    rig.door.put(world.participant("bank-b", namespaces=()))
    rig.door.put(world.federated_job())
    await rig.settle()
    looked = {(verb, namespace) for verb, kind, namespace, _ in rig.door.calls if kind == "PersistentVolumeClaim"}
    # Its own Participant's status asks for bank-b's claims; the job must not.
    rig.door.calls.clear()
    await rig.advance(6)
    assert ("get", "bank-a") in looked
    assert not [c for c in rig.door.calls if c[1] == "PersistentVolumeClaim" and c[2] == "bank-b" and c[0] != "get"]
