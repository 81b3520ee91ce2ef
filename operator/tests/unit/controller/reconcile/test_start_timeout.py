"""spec.startTimeoutSeconds as the operator's backstop: a server that does not run gives back."""

import pytest

from hanse.api import names
from tests.unit.controller import world
from tests.unit.controller.rig import Rig


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
    rig.drop_pods()
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
    rig.edit(suspend=True)
    await rig.advance(5000)
    rig.edit(suspend=False)
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
    rig.edit(suspend=True)
    await rig.settle()
    rig.edit(suspend=False)
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
    rig.drop_pods()
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
    rig.drop_pods()
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
    rig.edit(suspend=True)
    await rig.settle()
    rig.edit(suspend=False)
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
