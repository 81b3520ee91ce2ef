"""A Participation through the engine: the owner's policy, the client Job, and what its pods say."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from hanse.api import names
from hanse.controller import kinds
from hanse.dev import crds
from tests.unit.controller import world
from tests.unit.controller.rig import DEFAULTS, Rig


@pytest.fixture
async def rig() -> Rig:
    rig = Rig()
    await rig.start("bank-a", "bank-b", "bank-c", quorum=2)
    return rig


def condition(rig: Rig, kind: str, bank: str = "bank-a") -> tuple[str, str]:
    found = rig.participation(bank)
    assert found is not None
    made = next(c for c in found["status"]["conditions"] if c["type"] == kind)
    return made["status"], made["reason"]


def failure(rig: Rig) -> dict[str, Any]:
    found = rig.participation("bank-a")
    assert found is not None
    made: dict[str, Any] = found["status"]["failure"]
    return made


async def test_all_conditions_from_the_first_visit(rig: Rig) -> None:
    found = rig.participation("bank-a")
    assert found is not None
    kinds_ = [c["type"] for c in found["status"]["conditions"]]
    assert kinds_ == ["PolicySatisfied", "BudgetReserved", "ClientReady", "Complete", "Failed"]


async def test_the_client_runs(rig: Rig) -> None:
    rig.pod_of(rig.client_job("bank-a"), world.running())
    await rig.settle()
    assert condition(rig, "ClientReady") == ("True", "Ready")
    assert "ClientReady" in rig.events(namespace="bank-a")


async def test_the_client_has_ended_well(rig: Rig) -> None:
    rig.pod_of(rig.client_job("bank-a"), world.ended("trainer", 0, reason="Completed"))
    rig.set_job_status(rig.client_job("bank-a"), world.job_status(Complete=""))
    await rig.settle()
    assert condition(rig, "Complete") == ("True", "Completed")
    assert condition(rig, "Failed") == ("False", "NotFailed")


async def test_a_failure_that_is_retried_is_shown_and_not_final(rig: Rig) -> None:
    rig.pod_of(rig.client_job("bank-a"), world.ended("trainer", 70, message="the server is gone"))
    await rig.settle()
    assert condition(rig, "ClientReady") == ("False", "ServerLost")
    assert condition(rig, "Failed") == ("False", "NotFailed")
    assert failure(rig)["exitCode"] == 70


async def test_retries_may_end(rig: Rig) -> None:
    rig.pod_of(rig.client_job("bank-a"), world.ended("trainer", 70))
    rig.set_job_status(rig.client_job("bank-a"), world.job_status(Failed="BackoffLimitExceeded"))
    await rig.settle()
    assert condition(rig, "Failed") == ("True", "ServerLost")


async def test_a_client_that_will_not_stop(rig: Rig) -> None:
    rig.set_job_status(rig.client_job("bank-a"), world.job_status(Failed="DeadlineExceeded"))
    await rig.settle()
    assert condition(rig, "Failed") == ("True", "DeadlineExceeded")


async def test_out_of_memory_is_not_tried_again(rig: Rig) -> None:
    rig.pod_of(rig.client_job("bank-a"), world.ended("trainer", 137, reason="OOMKilled"))
    await rig.settle()
    assert condition(rig, "Failed") == ("True", "OutOfMemory")
    assert rig.client_job("bank-a") is None
    await rig.advance(60)
    assert rig.client_job("bank-a") is None
    assert rig.status["participants"][0]["reason"] == "OutOfMemory"
    assert rig.condition("Failed")[0] == "False"


async def test_the_failure_outlives_its_pod(rig: Rig) -> None:
    rig.pod_of(rig.client_job("bank-a"), world.ended("trainer", 67, message="no such file"))
    rig.set_job_status(rig.client_job("bank-a"), world.job_status(Failed="PodFailurePolicy"))
    await rig.settle()
    job = rig.client_job("bank-a")
    assert job is not None
    rig.door.remove("Job", "bank-a", job["metadata"]["name"])
    await rig.settle()
    assert failure(rig)["log"] == "no such file"
    assert condition(rig, "Failed") == ("True", "DatasetNotFound")
    assert rig.client_job("bank-a") is None


async def test_the_log_is_bounded(rig: Rig) -> None:
    rig.pod_of(rig.client_job("bank-a"), world.ended("trainer", 68, message="x" * 9000))
    await rig.settle()
    assert len(failure(rig)["log"]) == 4096


@pytest.mark.parametrize("change", ["policy", "gone", "dataset", "image", "population"])
async def test_an_owner_may_change_its_mind(rig: Rig, change: str) -> None:
    rig.pod_of(rig.client_job("bank-a"), world.running())
    await rig.settle()
    if change == "policy":
        rig.door.put(world.participant("bank-a", namespaces=("other",)))
        reason = "NamespaceNotAllowed"
    elif change == "gone":
        rig.door.remove("Participant", "bank-a", "bank-a")
        reason = "ParticipantNotFound"
    elif change == "image":
        policy = {"namespaces": ["consortium"], "images": ["audited@*"]}
        rig.door.put(world.participant("bank-a", policy=policy))
        reason = "ImageNotAllowed"
    elif change == "population":
        source = {"persistentVolumeClaim": {"claimName": "loans"}, "path": "loans.csv"}
        dataset = {"name": "loans", "source": source, "population": "borrowers"}
        rig.door.put(world.participant("bank-a", datasets=[dataset]))
        reason = "PrivacyRequired"
    else:
        source = {"persistentVolumeClaim": {"claimName": "x"}, "path": "x"}
        rig.door.put(world.participant("bank-a", datasets=[{"name": "cards", "source": source}]))
        reason = "DatasetNotDeclared"
    await rig.settle()
    assert condition(rig, "PolicySatisfied") == ("False", reason)
    assert rig.client_job("bank-a") is None
    assert rig.status["participants"][0]["reason"] == reason
    rig.door.put(world.participant("bank-a", policy={"namespaces": ["consortium"], "images": []}))
    await rig.settle()
    assert condition(rig, "PolicySatisfied")[0] == "True"
    assert rig.client_job("bank-a") is not None


async def test_a_client_job_that_somebody_deletes_comes_back(rig: Rig) -> None:
    job = rig.client_job("bank-a")
    assert job is not None
    rig.door.remove("Job", "bank-a", job["metadata"]["name"])
    await rig.settle()
    again = rig.client_job("bank-a")
    assert again is not None
    assert again["metadata"]["uid"] != job["metadata"]["uid"]


async def test_a_secret_of_another_owner_is_not_used(rig: Rig) -> None:
    """An earlier Participation's Secret may still be there: its key is not this one's."""
    job = rig.client_job("bank-a")
    assert job is not None
    name = job["metadata"]["name"]
    secret = rig.door.find(kinds.SECRET, "bank-a", name)
    assert secret is not None
    secret["metadata"]["ownerReferences"][0]["uid"] = "somebody"
    rig.door.remove("Job", "bank-a", name)
    await rig.settle()
    renewed = rig.door.find(kinds.SECRET, "bank-a", name)
    assert renewed is not None
    found = rig.participation("bank-a")
    assert found is not None
    assert renewed["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]


async def test_contributed_rounds_reach_the_owner(rig: Rig) -> None:
    from hanse.api.progress import ParticipantProgress

    await rig.push(completed=4, participants=[ParticipantProgress(name="bank-a", rounds_contributed=4)])
    await rig.advance(11)
    found = rig.participation("bank-a")
    assert found is not None
    assert found["status"]["roundsContributed"] == 4


async def test_participants_say_what_is_missing() -> None:
    rig = Rig()
    rig.door.put(world.participant("bank-a"))
    await rig.settle()

    def ready() -> tuple[str, str]:
        made = rig.door.objects["Participant", "bank-a", "bank-a"]["status"]["conditions"]
        return next((c["status"], c["reason"]) for c in made if c["type"] == "Ready")

    assert ready() == ("False", "DatasetNotFound")
    rig.door.put(world.claim("bank-a"))
    await rig.advance(11)
    assert ready() == ("True", "Ready")


async def test_long_names_still_fit() -> None:
    rig = Rig()
    member = "b" * 40
    rig.members(member)
    job = world.federated_job("j" * 40, members=(member,))
    rig.door.put(job)
    await rig.settle()
    made = rig.client_job(member)
    assert made is not None
    assert len(made["metadata"]["name"]) <= 63
    assert len(names.server_name("j" * 40)) <= 63


@pytest.mark.parametrize(
    ("code", "job", "word"),
    [
        (None, {}, "Ready"),
        (0, {}, "Completed"),
        (0, {"Complete": ""}, "Completed"),
        (67, {"Failed": "PodFailurePolicy"}, "DatasetNotFound"),
    ],
)
async def test_the_column_says_what_the_client_does(rig: Rig, code: int | None, job: dict[str, str], word: str) -> None:
    """`kubectl get participations` must not look as if something were wrong once the client is done."""
    column = next(c for k in crds.KINDS if k.kind == "Participation" for c in k.columns if c.name == "State")
    found = re.fullmatch(r'\.status\.conditions\[\?\(@\.type=="(\w+)"\)\]\.(\w+)', column.path)
    assert found is not None
    kind, field = found.groups()
    rig.pod_of(rig.client_job("bank-a"), world.running() if code is None else world.ended("trainer", code))
    rig.set_job_status(rig.client_job("bank-a"), world.job_status(**job))
    await rig.settle()
    participation = rig.participation("bank-a")
    assert participation is not None
    assert next(c[field] for c in participation["status"]["conditions"] if c["type"] == kind) == word


async def test_the_operators_patience_reaches_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.controller.rig.DEFAULTS", replace(DEFAULTS, server_lost_seconds=45))
    rig = Rig()
    await rig.start()
    client = rig.client_job("bank-a")
    assert client is not None
    config = rig.door.find(kinds.CONFIG_MAP, "bank-a", client["metadata"]["name"])
    assert config is not None
    assert json.loads(config["data"]["client.json"])["serverLostSeconds"] == 45
