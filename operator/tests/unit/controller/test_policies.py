"""Each policy of a running job, named as its spec field."""

import pytest

from hanse.api import names
from hanse.api.progress import ParticipantProgress
from hanse.controller import kinds
from tests.unit.controller import world
from tests.unit.controller.rig import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


def edit(rig: Rig, **spec: object) -> None:
    rig.door.put({"kind": "FederatedJob", "metadata": {"name": "credit", "namespace": "consortium"}, "spec": spec})


def certificate(rig: Rig, namespace: str, name: str) -> str:
    found = rig.door.find(kinds.SECRET, namespace, name)
    assert found is not None
    return str(found["data"]["tls.crt"])


def drop_pods(rig: Rig) -> None:
    rig.door.pods_linger = False
    for key in [k for k in rig.door.objects if k[0] == "Pod"]:
        rig.door.remove(*key)


# --- suspend ---


async def test_suspend_waits_for_the_pods(rig: Rig) -> None:
    await rig.start()
    rig.pod_of(rig.server_job(), world.running())
    rig.pod_of(rig.client_job("bank-a"), world.running())
    rig.pod_of(rig.client_job("bank-b"), world.running())
    await rig.settle()
    rig.door.pods_linger = True
    edit(rig, suspend=True)
    await rig.advance(1)
    assert rig.condition("Suspended") == ("False", "Suspended")
    assert rig.state == "Suspended"
    assert rig.server_job() is None
    assert rig.client_job("bank-a") is None
    drop_pods(rig)
    await rig.advance(1)
    assert rig.condition("Suspended") == ("True", "Suspended")
    assert rig.events().count("Suspended") == 1


async def test_resume_starts_anew_with_new_certificates_and_the_same_node_keys(rig: Rig) -> None:
    await rig.start()
    await rig.push(completed=3)
    client = rig.client_job("bank-a")
    assert client is not None
    name = client["metadata"]["name"]
    secret = rig.door.find(kinds.SECRET, "bank-a", name)
    assert secret is not None
    node_key = secret["data"]["node.key"]
    old = certificate(rig, "consortium", names.server_tls_name("credit")), certificate(rig, "bank-a", name)
    edit(rig, suspend=True)
    await rig.settle()
    assert rig.condition("Suspended")[0] == "True"
    edit(rig, suspend=False)
    await rig.settle()
    assert rig.status["starts"] == 2
    assert rig.condition("Suspended") == ("False", "Resumed")
    new = certificate(rig, "consortium", names.server_tls_name("credit")), certificate(rig, "bank-a", name)
    assert old[0] != new[0]
    assert old[1] != new[1]
    secret = rig.door.find(kinds.SECRET, "bank-a", name)
    assert secret is not None
    assert secret["data"]["node.key"] == node_key
    assert rig.server_job() is not None
    assert rig.client_job("bank-a") is not None
    assert rig.status["round"]["completed"] == 3
    assert "Resumed" in rig.events()


async def test_no_second_server_while_the_first_ones_pod_lives(rig: Rig) -> None:
    await rig.start()
    rig.pod_of(rig.server_job(), world.running())
    await rig.settle()
    rig.door.pods_linger = True
    edit(rig, suspend=True)
    await rig.settle()
    edit(rig, suspend=False)
    await rig.advance(1)
    assert rig.server_job() is None
    drop_pods(rig)
    await rig.advance(1)
    assert rig.server_job() is not None


async def test_suspended_from_the_start(rig: Rig) -> None:
    await rig.start(suspend=True)
    assert "startTime" not in rig.status
    assert rig.condition("Accepted") == ("True", "Accepted")
    assert rig.condition("Suspended") == ("True", "Suspended")
    assert rig.state == "Suspended"
    assert rig.server_job() is None
    edit(rig, suspend=False)
    await rig.settle()
    assert rig.server_job() is not None


# --- activeDeadlineSeconds ---


async def test_the_deadline_fails_the_job(rig: Rig) -> None:
    await rig.start(activeDeadlineSeconds=600)
    rig.pod_of(rig.server_job(), world.running())
    await rig.push(completed=1)
    await rig.advance(599)
    assert rig.condition("Failed")[0] == "False"
    await rig.advance(1)
    assert rig.condition("Failed") == ("True", "DeadlineExceeded")
    assert rig.server_job() is None
    assert rig.client_job("bank-a") is None


async def test_the_deadline_counts_unsuspended_time_only(rig: Rig) -> None:
    await rig.start(activeDeadlineSeconds=600)
    await rig.push(completed=1)
    await rig.advance(300)
    edit(rig, suspend=True)
    await rig.settle()
    await rig.advance(5000)
    assert rig.status["activeSeconds"] == 300
    edit(rig, suspend=False)
    await rig.settle()
    await rig.push(completed=1)
    await rig.advance(299)
    assert rig.condition("Failed")[0] == "False"
    await rig.advance(1)
    assert rig.condition("Failed") == ("True", "DeadlineExceeded")


async def test_the_deadline_reaches_the_client_jobs(rig: Rig) -> None:
    await rig.start(activeDeadlineSeconds=600)
    client = rig.client_job("bank-a")
    assert client is not None
    assert client["spec"]["activeDeadlineSeconds"] == 1200


# --- startTimeoutSeconds ---


async def test_a_server_that_never_runs_gives_back(rig: Rig) -> None:
    await rig.start(startTimeoutSeconds=60)
    pending = {
        "phase": "Pending",
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/1 nodes are available: 1 Insufficient cpu.",
            }
        ],
    }
    rig.pod_of(rig.server_job(), pending)
    await rig.settle()
    assert rig.condition("ServerReady") == ("False", "Unschedulable")
    assert "0/1 nodes are available: 1 Insufficient cpu." in rig.message("ServerReady")
    await rig.advance(89)
    assert rig.condition("Failed")[0] == "False"
    await rig.advance(1)
    assert rig.condition("Failed") == ("True", "Unschedulable")
    assert rig.server_job() is None
    assert rig.client_job("bank-a") is None


async def test_no_pod_at_all_is_a_quorum_that_was_not_reached(rig: Rig) -> None:
    await rig.start(startTimeoutSeconds=60)
    await rig.advance(15)
    assert rig.condition("ServerReady") == ("False", "PodRefused")
    await rig.advance(80)
    assert rig.condition("Failed") == ("True", "QuorumNotReached")


async def test_a_job_without_a_pod_later_on_is_no_refusal(rig: Rig) -> None:
    """Its controller backs off before it replaces a pod that was drained."""
    await rig.start()
    for job in (rig.server_job(), rig.client_job("bank-a"), rig.client_job("bank-b")):
        rig.pod_of(job, world.running())
    await rig.push(completed=1)
    await rig.advance(120)
    drop_pods(rig)
    await rig.advance(15)
    assert rig.condition("ServerReady") == ("False", "Starting")
    assert rig.status["participants"][0]["reason"] == "Starting"


UNSCHEDULABLE = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}],
}


async def test_a_resumed_server_that_never_runs_gives_back(rig: Rig) -> None:
    await rig.start(startTimeoutSeconds=60)
    rig.pod_of(rig.server_job(), world.running())
    await rig.push(completed=3)
    edit(rig, suspend=True)
    await rig.advance(5000)
    edit(rig, suspend=False)
    await rig.settle()
    rig.pod_of(rig.server_job(), UNSCHEDULABLE, name="credit-server-x2", created=rig.clock.now())
    await rig.advance(89)
    assert rig.condition("Failed")[0] == "False"
    await rig.advance(1)
    assert rig.condition("Failed") == ("True", "Unschedulable")
    assert rig.server_job() is None


async def test_a_resumed_server_without_a_pod_is_a_quorum_that_was_not_reached(rig: Rig) -> None:
    await rig.start(startTimeoutSeconds=60)
    await rig.push(completed=3)
    edit(rig, suspend=True)
    await rig.settle()
    edit(rig, suspend=False)
    await rig.settle()
    await rig.advance(89)
    assert rig.condition("Failed")[0] == "False"
    await rig.advance(1)
    assert rig.condition("Failed") == ("True", "QuorumNotReached")


async def test_a_replaced_server_has_its_own_time_to_start(rig: Rig) -> None:
    await rig.start(startTimeoutSeconds=60)
    rig.pod_of(rig.server_job(), world.running())
    await rig.push(completed=3)
    await rig.advance(5000)
    drop_pods(rig)
    await rig.settle()
    assert rig.condition("Failed")[0] == "False"
    await rig.advance(60)
    rig.pod_of(rig.server_job(), UNSCHEDULABLE, name="credit-server-x2", created=rig.clock.now())
    await rig.advance(89)
    assert rig.condition("Failed")[0] == "False"
    await rig.advance(1)
    assert rig.condition("Failed") == ("True", "Unschedulable")


@pytest.mark.parametrize("completed", [0, 3])
async def test_a_server_pod_that_runs_never_fails_the_start(rig: Rig, completed: int) -> None:
    await rig.start(startTimeoutSeconds=60)
    await rig.push(completed=completed)
    rig.pod_of(rig.server_job(), {"phase": "Running"})  # its readiness comes and goes
    await rig.advance(5000)
    assert rig.condition("Failed")[0] == "False"


async def test_a_failed_server_may_wait_for_the_back_off_of_its_job(rig: Rig) -> None:
    await rig.start(startTimeoutSeconds=60)
    server = rig.server_job()
    rig.pod_of(server, world.running())
    await rig.push(completed=3)
    await rig.advance(5000)
    drop_pods(rig)
    rig.set_job_status(server, {"failed": 3})
    await rig.settle()
    await rig.advance(449)
    assert rig.condition("Failed")[0] == "False"
    await rig.advance(1)
    assert rig.condition("Failed") == ("True", "QuorumNotReached")


async def test_a_resumed_server_in_a_queue_may_wait(rig: Rig) -> None:
    rig.members("bank-a", "bank-b")
    job = world.federated_job(startTimeoutSeconds=60)
    job["metadata"]["labels"] = {names.LABEL_QUEUE: "research"}
    rig.door.put(job)
    await rig.settle()
    await rig.push(completed=3)
    edit(rig, suspend=True)
    await rig.settle()
    edit(rig, suspend=False)
    await rig.settle()
    assert rig.condition("QuotaReserved") == ("False", "Queued")
    await rig.advance(5000)
    assert rig.condition("Failed")[0] == "False"


async def test_a_server_in_a_queue_may_wait(rig: Rig) -> None:
    rig.members("bank-a", "bank-b")
    job = world.federated_job(startTimeoutSeconds=60)
    job["metadata"]["labels"] = {names.LABEL_QUEUE: "research"}
    rig.door.put(job)
    await rig.settle()
    server = rig.server_job()
    assert server is not None
    assert server["spec"]["suspend"] is True
    assert rig.condition("QuotaReserved") == ("False", "Queued")
    assert rig.state == "Waiting"
    await rig.advance(5000)
    assert rig.condition("Failed")[0] == "False"
    admitted = {"startTime": rig.clock.now().isoformat()}
    rig.door.put({**server, "spec": {**server["spec"], "suspend": False}, "status": admitted})
    await rig.settle()
    assert rig.condition("QuotaReserved") == ("True", "Admitted")


# --- quorum ---


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


# --- a sidecar that does not stay up ---


async def test_a_sidecar_that_crash_loops_fails_the_job(rig: Rig) -> None:
    await rig.start()

    def crashed(restarts: int) -> dict[str, object]:
        status = {
            "name": "superlink",
            "restartCount": restarts,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1}},
        }
        return {"phase": "Pending", "initContainerStatuses": [status]}

    rig.pod_of(rig.server_job(), crashed(4))
    await rig.settle()
    assert rig.condition("ServerReady") == ("False", "ContainerFailed")
    assert rig.condition("Failed")[0] == "False"
    rig.pod_of(rig.server_job(), crashed(5))
    await rig.settle()
    assert rig.condition("Failed") == ("True", "SidecarCrashLoop")
