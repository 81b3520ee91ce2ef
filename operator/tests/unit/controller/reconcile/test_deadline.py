"""spec.activeDeadlineSeconds: unsuspended time is what counts."""

from tests.unit.controller import world
from tests.unit.controller.rig import Rig


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
    rig.edit(suspend=True)
    await rig.settle()
    await rig.advance(5000)
    assert rig.status["activeSeconds"] == 300
    rig.edit(suspend=False)
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
