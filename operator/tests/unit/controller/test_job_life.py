"""A FederatedJob from its first visit to its end, through the engine and a door in memory."""

import json
from datetime import timedelta

import pytest

from hanse.api import names
from hanse.api.progress import ModelFile, ParticipantProgress
from hanse.controller import kinds
from tests.unit.controller import world
from tests.unit.controller.rig import SYSTEM, Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


def connected(*members: str, rounds: int = 0) -> list[ParticipantProgress]:
    return [ParticipantProgress(name=m, connected=True, rounds_contributed=rounds) for m in members]


async def test_the_first_visit_writes_status_and_nothing_else(rig: Rig) -> None:
    rig.members("bank-a", "bank-b")
    rig.door.put(world.federated_job())
    rig._deliver()
    key = next(k for k in iter(rig.queue.take, None) if k.kind == "FederatedJob")
    await rig.engine.run(key)
    verbs = {verb for verb, kind, _, _ in rig.door.calls if kind != "Event"} - {"get", "list"}
    assert verbs == {"status"}
    assert rig.status["startTime"] == "2026-11-22T12:00:00Z"
    assert rig.status["planHash"].startswith("sha256:")
    assert rig.status["images"]["gate"].startswith("hanse/gate@")
    assert rig.condition("Accepted") == ("True", "Accepted")


async def test_every_condition_is_there_from_the_first_visit(rig: Rig) -> None:
    await rig.start()
    assert [c["type"] for c in rig.status["conditions"]] == [
        "Accepted",
        "QuotaReserved",
        "ServerReady",
        "ParticipantsReady",
        "KeysReady",
        "FullParticipation",
        "Suspended",
        "Complete",
        "Failed",
    ]
    assert all(c["observedGeneration"] == 1 and c["reason"] for c in rig.status["conditions"])


async def test_children_are_made_where_they_belong(rig: Rig) -> None:
    await rig.start()
    made = {(kind, namespace) for kind, namespace, _ in rig.door.objects}
    for kind in ("Job", "Secret", "ConfigMap", "Service", "PersistentVolumeClaim"):
        assert (kind, "consortium") in made
    for bank in ("bank-a", "bank-b"):
        for kind in ("Participation", "Job", "Secret", "ConfigMap"):
            assert (kind, bank) in made
    uid = rig.job["metadata"]["uid"]
    assert ("Secret", SYSTEM, names.ca_secret_name(uid)) in rig.door.objects
    config = rig.door.find(kinds.CONFIG_MAP, "consortium", names.run_config_name("credit"))
    assert config is not None
    run = json.loads(config["data"]["run.json"])
    assert [p["name"] for p in run["participants"]] == ["bank-a", "bank-b"]
    assert all("BEGIN PUBLIC KEY" in p["publicKey"] for p in run["participants"])
    assert run["progress"]["url"].endswith("/v1/jobs/consortium/credit/progress")


async def test_no_private_key_leaves_its_secret(rig: Rig) -> None:
    await rig.start()
    for key, made in rig.door.objects.items():
        if key[0] != "Secret":
            assert "PRIVATE KEY" not in json.dumps(made), key


async def test_the_ca_key_is_in_no_jobs_namespace(rig: Rig) -> None:
    await rig.start()
    secrets = {k: o for k, o in rig.door.objects.items() if k[0] == "Secret"}
    ca = secrets[("Secret", SYSTEM, names.ca_secret_name(rig.job["metadata"]["uid"]))]["data"]["tls.key"]
    assert [k for k, o in secrets.items() if ca in json.dumps(o)] == [
        ("Secret", SYSTEM, names.ca_secret_name(rig.job["metadata"]["uid"]))
    ]


async def test_a_settled_job_is_not_written_again(rig: Rig) -> None:
    await rig.start()
    for job in (rig.server_job(), rig.client_job("bank-a"), rig.client_job("bank-b")):
        rig.pod_of(job, world.running())
    await rig.settle()
    before = rig.door.count("status")
    for _ in range(5):
        await rig.advance(3)
    assert rig.door.count("status") == before


async def test_a_restarted_operator_changes_nothing(rig: Rig) -> None:
    await rig.start()
    before = {k: o["metadata"]["resourceVersion"] for k, o in rig.door.objects.items()}
    rig.restart()
    await rig.settle()
    after = {k: o["metadata"]["resourceVersion"] for k, o in rig.door.objects.items()}
    assert after == before
    assert rig.door.count("delete") == 0


async def test_a_restarted_operator_does_not_forget_what_runs(rig: Rig) -> None:
    await rig.start()
    for job in (rig.server_job(), rig.client_job("bank-a"), rig.client_job("bank-b")):
        rig.pod_of(job, world.running())
    await rig.push(completed=4, participants=connected("bank-a", "bank-b", rounds=4))
    before = rig.status
    rig.restart()
    await rig.settle()
    assert rig.status == before
    assert rig.state == "Running"


async def test_nobody_is_missed_before_the_first_round(rig: Rig) -> None:
    await rig.start()
    for job in (rig.server_job(), rig.client_job("bank-a"), rig.client_job("bank-b")):
        rig.pod_of(job, world.running())
    absent = [ParticipantProgress(name=m, reason="NotConnected") for m in ("bank-a", "bank-b")]
    await rig.push(phase="WaitingForParticipants", participants=absent)
    assert rig.condition("ParticipantsReady") == ("False", "WaitingForParticipants")
    assert rig.state == "Waiting"
    await rig.push(completed=1, sequence=2, participants=absent, at=rig.clock.now() + timedelta(seconds=1))
    assert rig.condition("ParticipantsReady") == ("False", "NotConnected")


async def test_rounds_show_in_the_columns(rig: Rig) -> None:
    await rig.start()
    rig.pod_of(rig.server_job(), world.running())
    await rig.push(
        completed=4,
        eta_seconds=340,
        participants=connected("bank-a", "bank-b", rounds=4),
        rounds=[{"number": 4, "contributed": 2, "seconds": "1.5", "metrics": {"loss": "0.4", "auc": "0.7712"}}],
    )
    assert rig.status["summary"] == {
        "state": "Running",
        "round": "4/10",
        "participants": "2/2",
        "metric": "auc=0.771",
        "reason": "Running",
        "eta": "5m40s",
        "epsilon": "-",
        "encryption": "-",
    }
    assert rig.condition("ParticipantsReady") == ("True", "Ready")
    assert rig.condition("FullParticipation") == ("True", "AllParticipate")
    assert "RoundCompleted" in rig.events()


async def test_complete_by_push(rig: Rig) -> None:
    await rig.start()
    model = ModelFile(path="model.safetensors", digest=world.DIGEST, bytes=12)
    await rig.push(
        phase="Complete",
        reason="StoppedByMetric",
        message="auc 0.79 >= 0.78",
        completed=7,
        model=model,
        participants=connected("bank-a", "bank-b", rounds=7),
    )
    assert rig.condition("Complete") == ("True", "StoppedByMetric")
    assert rig.condition("Failed") == ("False", "NotFailed")
    assert rig.status["model"] == {
        "claim": "credit-state",
        "path": "output/model.safetensors",
        "digest": world.DIGEST,
        "bytes": 12,
    }
    assert rig.state == "Complete"
    assert rig.status["summary"]["participants"] == "2/2"
    assert rig.server_job() is not None
    assert rig.events().count("Complete") == 1


async def test_complete_while_the_operator_was_away(rig: Rig) -> None:
    """The termination message of the launcher is all that is left."""
    await rig.start()
    message = json.dumps(
        {
            "jobUid": rig.job["metadata"]["uid"],
            "sequence": 40,
            "phase": "Complete",
            "reason": "Completed",
            "completed": 10,
            "total": 10,
            "updatedAt": "2026-11-22T12:05:00Z",
            "model": {"path": "model.safetensors", "digest": world.DIGEST, "bytes": 9},
        }
    )
    rig.pod_of(rig.server_job(), world.ended("launcher", 0, reason="Completed", message=message))
    rig.set_job_status(rig.server_job(), world.job_status(Complete=""))
    rig.restart()
    await rig.settle()
    assert rig.condition("Complete") == ("True", "Completed")
    assert rig.status["round"]["completed"] == 10
    assert rig.status["model"]["digest"] == world.DIGEST


async def test_the_model_goes_to_the_users_claim(rig: Rig) -> None:
    rig.door.put(world.claim("consortium", "models"))
    await rig.start(output={"claimName": "models"})
    model = ModelFile(path="credit/model.safetensors", digest=world.DIGEST, bytes=12)
    await rig.push(phase="Complete", reason="Completed", completed=10, model=model)
    assert rig.status["model"]["claim"] == "models"
    assert rig.status["model"]["path"] == "credit/model.safetensors"


async def test_a_job_that_fails_says_why_and_gives_back(rig: Rig) -> None:
    await rig.start()
    message = json.dumps(
        {
            "jobUid": rig.job["metadata"]["uid"],
            "sequence": 2,
            "phase": "Failed",
            "reason": "FeatureMismatch",
            "message": "bank-a and bank-b differ in age",
            "updatedAt": "2026-11-22T12:01:00Z",
        }
    )
    rig.pod_of(rig.server_job(), world.ended("launcher", 74, message=message))
    rig.set_job_status(rig.server_job(), world.job_status(Failed="PodFailurePolicy"))
    await rig.settle()
    assert rig.condition("Failed") == ("True", "FeatureMismatch")
    assert "bank-a and bank-b differ in age" in rig.message("Failed")
    assert "exit code 74" in rig.message("Failed")
    assert rig.client_job("bank-a") is None
    assert rig.client_job("bank-b") is None
    assert rig.server_job() is not None  # it has ended: its logs stay


@pytest.mark.parametrize(
    ("reason", "code", "expected"),
    [
        ("BackoffLimitExceeded", 137, "BackoffLimitExceeded"),
        ("PodFailurePolicy", 72, "QuorumNotReached"),
        ("PodFailurePolicy", 79, "CheckpointInvalid"),
        ("PodFailurePolicy", 77, "ServerAppFailed"),
    ],
)
async def test_exit_codes_of_the_server(rig: Rig, reason: str, code: int, expected: str) -> None:
    await rig.start()
    rig.pod_of(rig.server_job(), world.ended("launcher", code, message="Traceback"))
    rig.set_job_status(rig.server_job(), world.job_status(Failed=reason))
    await rig.settle()
    assert rig.condition("Failed") == ("True", expected)
    assert f"exit code {code}" in rig.message("Failed")


async def test_two_jobs_do_not_meet(rig: Rig) -> None:
    await rig.start()
    other = world.federated_job("other")
    rig.door.put(other)
    await rig.settle()
    jobs = {key for key in rig.door.objects if key[0] == "Job"}
    assert len(jobs) == 6
    uid = rig.job["metadata"]["uid"]
    await rig.push(completed=1)
    found = rig.door.find(kinds.FEDERATED_JOB, "consortium", "other")
    assert found is not None
    assert found["metadata"]["uid"] != uid
    assert found["status"]["round"]["completed"] == 0


async def test_deleting_a_job_sweeps_other_namespaces(rig: Rig) -> None:
    await rig.start()
    rig.door.remove("FederatedJob", "consortium", "credit")
    await rig.settle()
    left = {key for key in rig.door.objects if key[0] in ("Participation", "Job", "Secret", "ConfigMap", "Service")}
    assert left == set()
    assert ("PersistentVolumeClaim", "bank-a", "loans") in rig.door.objects


async def test_a_job_deleted_while_the_operator_was_away_is_swept(rig: Rig) -> None:
    await rig.start()
    rig.door.remove("FederatedJob", "consortium", "credit")
    rig.restart()
    await rig.settle()
    assert rig.participation("bank-a") is None
    assert not [key for key in rig.door.objects if key[0] == "Secret"]


async def test_a_cache_that_lost_the_job_deletes_nothing(rig: Rig) -> None:
    await rig.start()
    meta = rig.job["metadata"]
    rig.cache.remove("FederatedJob", "consortium", "credit", meta["uid"])
    from hanse.controller.engine import SWEEP

    await rig.engine.run(SWEEP)
    assert rig.participation("bank-a") is not None
    assert rig.door.count("delete") == 0


async def test_ttl(rig: Rig) -> None:
    await rig.start(ttlSecondsAfterFinished=100)
    await rig.push(phase="Complete", completed=10)
    await rig.advance(99)
    assert rig.state == "Complete"
    await rig.advance(2)
    assert rig.door.find(kinds.FEDERATED_JOB, "consortium", "credit") is None


async def test_clients_that_missed_the_end_are_stopped(rig: Rig) -> None:
    await rig.start()
    rig.pod_of(rig.client_job("bank-a"), world.running())
    await rig.push(phase="Complete", completed=10)
    assert rig.client_job("bank-a") is not None
    await rig.advance(61)
    assert rig.client_job("bank-a") is None


async def test_a_push_repeated_with_another_time_rewrites_nothing_but_last_seen(rig: Rig) -> None:
    await rig.start()
    seen = rig.clock.now()
    members = [ParticipantProgress(name="bank-a", connected=True, last_seen=seen)]
    await rig.push(sequence=1, participants=members)
    before = rig.door.count("status", kinds.FEDERATED_JOB)
    later = [ParticipantProgress(name="bank-a", connected=True, last_seen=seen + timedelta(seconds=3))]
    await rig.push(sequence=2, participants=later, at=rig.clock.now() + timedelta(seconds=3))
    assert rig.door.count("status", kinds.FEDERATED_JOB) == before
