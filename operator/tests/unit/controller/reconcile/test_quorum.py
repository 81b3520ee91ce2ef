"""spec.quorum against who can still contribute, and which of their words reach the job."""

import pytest

from hanse.api.progress import ParticipantProgress
from tests.unit.controller import world
from tests.unit.controller.rig import Rig


def refuse(rig: Rig, member: str, code: int, *, message: str = "row 17: 4711") -> None:
    job = rig.client_job(member)
    rig.pod_of(job, world.ended("trainer", code, message=message))


async def test_one_that_fails_for_good_leaves_a_quorum(rig: Rig) -> None:
    await rig.start("bank-a", "bank-b", "bank-c", quorum=2)
    refuse(rig, "bank-c", 67)
    await rig.settle()
    assert rig.condition("Failed")[0] == "False"
    assert rig.condition("ParticipantsReady") == ("False", "DatasetNotFound")
    assert "bank-c" in rig.message("ParticipantsReady")


async def test_too_few_fail_the_job_with_their_common_cause(rig: Rig) -> None:
    await rig.start("bank-a", "bank-b", "bank-c", quorum=2)
    refuse(rig, "bank-b", 67)
    refuse(rig, "bank-c", 67)
    await rig.settle()
    assert rig.condition("Failed") == ("True", "DatasetNotFound")
    assert "bank-b" in rig.message("Failed")
    assert "kubectl -n bank-b describe participation" in rig.message("Failed")


async def test_different_causes_are_a_missed_quorum(rig: Rig) -> None:
    await rig.start("bank-a", "bank-b", "bank-c", quorum=2)
    refuse(rig, "bank-b", 67)
    refuse(rig, "bank-c", 68)
    await rig.settle()
    assert rig.condition("Failed") == ("True", "QuorumNotReached")


async def test_words_of_a_container_that_saw_data_stay_with_the_owner(rig: Rig) -> None:
    await rig.start()
    refuse(rig, "bank-a", 68, message="row 17: 4711 is no number")
    await rig.settle()
    owners = rig.participation("bank-a")
    assert owners is not None
    assert owners["status"]["failure"]["log"] == "row 17: 4711 is no number"
    assert "4711" not in str(rig.job)
    assert all("4711" not in str(o) for (k, ns, _), o in rig.door.objects.items() if ns == "consortium")
    told = [o for (k, ns, _), o in rig.door.objects.items() if k == "Event"]
    assert all("4711" not in str(o) for o in told)
    entry = rig.status["participants"][0]
    assert (entry["reason"], entry["exitCode"]) == ("DatasetInvalid", 68)


async def test_words_of_the_import_check_reach_the_job(rig: Rig) -> None:
    await rig.start()
    log = "Traceback\nModuleNotFoundError: No module named 'lightgbm'"
    rig.pod_of(rig.client_job("bank-a"), world.ended("app-check", 65, message=log, init=True))
    await rig.settle()
    assert rig.condition("Failed") == ("True", "AppImportFailed")
    assert "No module named 'lightgbm'" in rig.message("Failed")


async def test_an_owner_who_deletes_its_participation_has_left(rig: Rig) -> None:
    await rig.start("bank-a", "bank-b", "bank-c", quorum=2)
    left = rig.participation("bank-c")
    assert left is not None
    rig.door.remove("Participation", "bank-c", left["metadata"]["name"])
    await rig.settle()
    await rig.advance(30)
    assert rig.participation("bank-c") is None
    assert rig.client_job("bank-c") is None
    assert rig.condition("Failed")[0] == "False"
    assert rig.status["participants"][2]["reason"] == "ParticipantLeft"
    rig.restart()
    await rig.settle()
    assert rig.participation("bank-c") is None


@pytest.mark.parametrize(("completed", "reason"), [(0, "QuorumNotReached"), (2, "QuorumLost")])
async def test_leaving_may_cost_the_quorum(rig: Rig, completed: int, reason: str) -> None:
    await rig.start()
    members = [ParticipantProgress(name=m, connected=True) for m in ("bank-a", "bank-b")]
    await rig.push(completed=completed, participants=members)
    left = rig.participation("bank-b")
    assert left is not None
    rig.door.remove("Participation", "bank-b", left["metadata"]["name"])
    await rig.settle()
    assert rig.condition("Failed") == ("True", reason)


async def test_a_cache_that_misses_a_participation_is_not_believed(rig: Rig) -> None:
    await rig.start()
    there = rig.participation("bank-b")
    assert there is not None
    rig.cache.remove("Participation", "bank-b", there["metadata"]["name"], there["metadata"]["uid"])
    await rig.push(completed=1)
    assert rig.condition("Failed")[0] == "False"
    assert rig.status["participants"][1]["reason"] != "ParticipantLeft"


async def test_a_subset_is_named(rig: Rig) -> None:
    await rig.start("bank-a", "bank-b", "bank-c", quorum=2)
    members = [
        ParticipantProgress(name="bank-a", connected=True, rounds_contributed=10),
        ParticipantProgress(name="bank-b", connected=True, rounds_contributed=8),
        ParticipantProgress(name="bank-c", connected=False, reason="NotConnected"),
    ]
    await rig.push(phase="Complete", reason="Completed", completed=10, participants=members)
    assert rig.condition("FullParticipation") == ("False", "SubsetOnly")
    assert rig.message("FullParticipation") == "rounds contributed: bank-b 8/10, bank-c 0/10"
    assert rig.condition("Complete")[0] == "True"


async def test_one_closed_namespace_does_not_keep_a_quorum_from_starting(rig: Rig) -> None:
    rig.members("bank-a", "bank-b", "bank-c")
    rig.door.put(world.federated_job(members=("bank-a", "bank-b", "bank-c"), quorum=2, startTimeoutSeconds=60))
    rig._deliver()
    rig.door.denied.add("bank-c")  # a RoleBinding that is taken away at the wrong moment
    await rig.settle()
    assert rig.server_job() is None
    assert rig.condition("ParticipantsReady") == ("False", "PermissionDenied")
    assert "hanse owner-rbac bank-c" in rig.message("ParticipantsReady")
    for _ in range(4):
        await rig.advance(10)
    assert rig.server_job() is not None
