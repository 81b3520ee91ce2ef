"""Exit code 78 (Drained): evictions and disruptions do not count against backoffLimit, a process that ends does."""

from typing import Any

import pytest

from hanse.controller import kinds
from tests.unit.controller import world
from tests.unit.controller.rig import Rig

DISRUPTED = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]


def end(rig: Rig, job: dict[str, Any] | None, container: str, number: int, **status: Any) -> None:
    """One more pod of a Job that has ended with code 78."""
    assert job is not None
    name = f"{job['metadata']['name']}-{number}"
    rig.pod_of(job, {**world.ended(container, 78), **status}, name=name, created=rig.clock.now())


def member(rig: Rig) -> tuple[str, str]:
    entry = rig.status["participants"][0]
    return entry["name"], entry["reason"]


async def test_a_client_that_only_says_that_it_was_drained(rig: Rig) -> None:
    await rig.start("bank-a", "bank-b", "bank-c", quorum=2, backoffLimit=2)
    client = rig.client_job("bank-a")
    for number in range(2):
        end(rig, client, "trainer", number)
        await rig.advance(10)
    assert member(rig) == ("bank-a", "Drained")
    assert rig.client_job("bank-a") is not None
    end(rig, client, "trainer", 2)
    await rig.advance(10)
    assert member(rig) == ("bank-a", "BackoffLimitExceeded")
    assert rig.client_job("bank-a") is None
    assert rig.condition("Failed")[0] == "False"


async def test_a_server_that_only_says_that_it_was_drained(rig: Rig) -> None:
    await rig.start(backoffLimit=1)
    for number in range(2):
        assert rig.condition("Failed")[0] == "False"
        end(rig, rig.server_job(), "launcher", number)
        await rig.advance(10)
    assert rig.condition("Failed") == ("True", "BackoffLimitExceeded")
    assert rig.server_job() is None


async def test_failures_that_the_job_counts_are_counted_too(rig: Rig) -> None:
    await rig.start("bank-a", "bank-b", "bank-c", quorum=2, backoffLimit=2)
    client = rig.client_job("bank-a")
    end(rig, client, "trainer", 0)
    rig.set_job_status(client, {"failed": 1})
    await rig.settle()
    assert member(rig) == ("bank-a", "Drained")
    rig.set_job_status(client, {"failed": 2})
    await rig.settle()
    assert member(rig) == ("bank-a", "BackoffLimitExceeded")


@pytest.mark.parametrize("deleted", [False, True])
async def test_drains_do_not_count(rig: Rig, deleted: bool) -> None:
    """An eviction has its condition; a queue that takes its quota back suspends the Job, which deletes the pods."""
    await rig.start("bank-a", "bank-b", "bank-c", quorum=2, backoffLimit=0)
    client = rig.client_job("bank-a")
    for number in range(4):
        end(rig, client, "trainer", number, **({} if deleted else {"conditions": DISRUPTED}))
        if deleted:
            name = f"{client['metadata']['name']}-{number}" if client is not None else ""
            pod = rig.door.find(kinds.POD, "bank-a", name)
            assert pod is not None
            rig.door.put({**pod, "metadata": {**pod["metadata"], "deletionTimestamp": "2026-11-22T12:00:00Z"}})
        await rig.advance(10)
    assert rig.client_job("bank-a") is not None
    assert member(rig) == ("bank-a", "Drained")


async def test_pods_of_an_earlier_job_do_not_count(rig: Rig) -> None:
    await rig.start("bank-a", "bank-b", "bank-c", quorum=2, backoffLimit=0)
    client = rig.client_job("bank-a")
    assert client is not None
    client = {**client, "metadata": {**client["metadata"], "uid": "before-the-suspension"}}
    end(rig, client, "trainer", 0)
    await rig.advance(10)
    assert rig.client_job("bank-a") is not None
