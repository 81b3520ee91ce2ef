"""What owners may write, what the API server may refuse, how long certificates last: seen from outside."""

import copy
from datetime import timedelta

import pytest

from hanse.api import names
from hanse.controller import errors, kinds
from hanse.controller.parse import decode
from hanse.pki import certificates
from tests.unit.controller import world
from tests.unit.controller.rig import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_another_owner_cannot_speak_for_a_participant(rig: Rig) -> None:
    rig.members("bank-a", "bank-b")
    rig.door.put(world.federated_job())
    rig._deliver()
    rig.door.denied.add("bank-a")  # its owner has not let the operator in yet
    await rig.settle()
    mine = rig.participation("bank-b")
    assert mine is not None
    forged = copy.deepcopy(mine)
    uid = rig.job["metadata"]["uid"]
    name = names.participation_name("credit", "bank-a", uid)
    forged["metadata"] = {"name": name, "namespace": "bank-b", "labels": mine["metadata"]["labels"]}
    forged["spec"]["plan"]["participant"] = "bank-a"
    rig.door.put(forged)
    await rig.advance(10)
    assert "bank-a" not in rig.status["participations"]
    rig.door.denied.clear()
    await rig.advance(10)
    theirs = rig.door.find(kinds.PARTICIPATION, "bank-a", name)
    assert theirs is not None
    assert rig.status["participations"]["bank-a"] == theirs["metadata"]["uid"]


@pytest.mark.parametrize(
    ("member", "place", "reference", "uid"),
    [
        ("mallory", "mallory", "mallory", None),  # a participant that the job does not list
        ("bank-a", "mallory", "bank-a", None),  # one that is somewhere else
        ("bank-a", "bank-a", "mallory", None),  # one that is another Participant
        ("bank-a", "bank-a", "bank-a", "00000000-0000-4000-8000-000000000001"),  # a job of that name that is gone
    ],
)
async def test_only_who_is_asked_gets_a_certificate(
    rig: Rig, member: str, place: str, reference: str, uid: str | None
) -> None:
    await rig.start()
    if uid is not None:  # its authority may still be there
        authority = rig.door.find(kinds.SECRET, "hanse-system", names.ca_secret_name(rig.job["metadata"]["uid"]))
        assert authority is not None
        rig.door.put({**authority, "metadata": {"name": names.ca_secret_name(uid), "namespace": "hanse-system"}})
    mine = rig.participation("bank-a")
    assert mine is not None
    forged = copy.deepcopy(mine)
    forged["metadata"] = {"name": "forged", "namespace": place, "labels": mine["metadata"]["labels"]}
    forged["spec"]["plan"]["participant"] = member
    forged["spec"]["participantRef"]["name"] = reference
    forged["spec"]["jobRef"]["uid"] = uid or forged["spec"]["jobRef"]["uid"]
    del forged["status"]
    rig.door.put({**world.participant(reference), "metadata": {"name": reference, "namespace": place}})
    rig.door.put(forged)
    await rig.advance(10)
    assert rig.door.find(kinds.SECRET, place, names.client_name("forged")) is None
    found = rig.door.find(kinds.PARTICIPATION, place, "forged")
    assert found is not None
    ready = next(c for c in found["status"]["conditions"] if c["type"] == "ClientReady")
    assert (ready["status"], ready["reason"]) == ("False", "NamespaceNotAllowed")
    assert "does not list" in ready["message"]


async def test_a_create_whose_answer_was_lost_is_not_told_for_ever(rig: Rig) -> None:
    create = rig.door.create
    lost: list[dict[str, object]] = []

    async def no_answer(manifest: dict[str, object]) -> dict[str, object] | None:
        answer = await create(manifest)
        if manifest["kind"] == "Job" and not lost:
            lost.append(manifest)
            raise errors.ApiProblem("API server: timed out", kind="Job", namespace="consortium", name="credit")
        return answer

    rig.door.create = no_answer  # type: ignore[method-assign]
    await rig.start()
    await rig.advance(60)
    assert lost
    rig.pod_of(rig.client_job("bank-a"), world.running())
    rig.pod_of(rig.client_job("bank-b"), world.running())
    rig.pod_of(rig.server_job(), world.running())
    await rig.advance(60)
    assert rig.condition("ServerReady") == ("True", "Ready")
    for member in ("bank-a", "bank-b"):
        participation = rig.participation(member)
        assert participation is not None
        assert participation["status"]["message"] == "taking part"


async def test_a_closed_namespace_does_not_keep_others_from_being_swept(rig: Rig) -> None:
    await rig.start()
    rig.door.denied.add("bank-a")
    rig.door.remove("FederatedJob", "consortium", "credit")
    await rig.advance(10)
    assert rig.participation("bank-b") is None
    assert rig.participation("bank-a") is not None


async def test_certificates_outlast_a_long_deadline(rig: Rig) -> None:
    await rig.start(activeDeadlineSeconds=30 * 86_400)
    client = rig.client_job("bank-a")
    assert client is not None
    secrets = [
        rig.door.find(kinds.SECRET, "consortium", names.server_tls_name("credit")),
        rig.door.find(kinds.SECRET, "bank-a", client["metadata"]["name"]),
    ]
    for secret in secrets:
        assert secret is not None
        left = certificates.not_after(decode(secret, "tls.crt")) - rig.clock.now()
        assert left > timedelta(seconds=client["spec"]["activeDeadlineSeconds"])
