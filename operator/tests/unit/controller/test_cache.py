"""The cache against what arrives late: watches, lists and answers overtake each other."""

import asyncio
from typing import Any

from hanse.controller import kinds
from hanse.controller.cache import REMEMBERED, Cache
from hanse.controller.door import Json
from hanse.controller.execute import Executor
from hanse.controller.handlers import handle
from hanse.controller.kinds import Kind
from hanse.controller.queue import WorkQueue
from hanse.controller.reconcile.model import Apply
from tests.unit.controller import world
from tests.unit.controller.rig import SYSTEM
from tests.unit.controller.test_parts import Bench
from tests.unit.controller.world import Clock, MemoryDoor


def versioned(version: str, uid: str = "1", **spec: Any) -> dict[str, Any]:
    made = world.federated_job(**spec)
    made["metadata"].update(uid=uid, resourceVersion=version)
    return made


def uid_of(cache: Cache) -> str:
    found = cache.custom(kinds.FEDERATED_JOB, "consortium", "credit")
    return found.meta.uid if found is not None else ""


def test_an_older_version_does_not_replace_a_newer_one() -> None:
    cache = Cache()
    cache.put(versioned("10", rounds=10))
    cache.put(versioned("9", rounds=9))
    found = cache.custom(kinds.FEDERATED_JOB, "consortium", "credit")
    assert found is not None
    assert found.spec["rounds"] == 10


def test_a_late_deletion_does_not_remove_the_next_one_of_that_name() -> None:
    cache = Cache()
    cache.put(versioned("10", uid="2"))
    cache.remove("FederatedJob", "consortium", "credit", "1")
    assert uid_of(cache) == "2"


def test_a_list_removes_what_was_there_before_it_and_keeps_what_came_meanwhile() -> None:
    cache = Cache()
    cache.put(versioned("1"))
    before = cache.known(kinds.FEDERATED_JOB, "consortium")
    cache.put(versioned("5", uid="2", name="later"))
    cache.replace(kinds.FEDERATED_JOB, [], before)
    assert uid_of(cache) == ""
    assert cache.custom(kinds.FEDERATED_JOB, "consortium", "later") is not None


async def test_what_is_made_anew_during_a_list_is_not_forgotten() -> None:
    """The list was answered between the deletion and the next one of that name."""
    bench = Bench("consortium")
    bench.cache.put(versioned("1", uid="1"))
    listing = bench.door.list

    async def slow(kind: Kind, namespace: str | None) -> list[Json]:
        found = await listing(kind, namespace)
        if (kind, namespace) == (kinds.FEDERATED_JOB, "consortium"):
            gone = {"type": "DELETED", "object": versioned("2", uid="1")}
            handle(gone, bench.cache, bench.queue)
            handle({"type": "ADDED", "object": versioned("3", uid="2")}, bench.cache, bench.queue)
        return found

    bench.door.list = slow  # type: ignore[method-assign]
    await bench.resync.everything()
    assert uid_of(bench.cache) == "2"


async def test_what_is_deleted_during_a_list_stays_gone() -> None:
    bench = Bench("consortium")
    bench.door.put(world.federated_job())
    listing = bench.door.list

    async def slow(kind: Kind, namespace: str | None) -> list[Json]:
        found = await listing(kind, namespace)
        for raw in found:
            later = {**raw, "metadata": {**raw["metadata"], "resourceVersion": "99"}}
            handle({"type": "DELETED", "object": later}, bench.cache, bench.queue)
        return found

    bench.door.list = slow  # type: ignore[method-assign]
    await bench.resync.everything()
    assert uid_of(bench.cache) == ""


async def test_an_answer_that_comes_after_the_deletion_brings_no_ghost() -> None:
    cache, door, clock = Cache(), MemoryDoor(), Clock()
    applying = door.apply

    async def slow(manifest: Json) -> Json:
        answer = await applying(manifest)
        later = {**answer, "metadata": {**answer["metadata"], "resourceVersion": "99"}}
        handle({"type": "DELETED", "object": later}, cache, WorkQueue(clock))
        await asyncio.sleep(0)
        return answer

    door.apply = slow  # type: ignore[method-assign]
    await Executor(door, cache, clock, SYSTEM).run(Apply(world.federated_job()))
    assert uid_of(cache) == ""


def test_an_object_that_left_the_selector_may_come_back() -> None:
    """To a watch with a selector a label that is taken away is a deletion; the uid stays the same."""
    cache = Cache()
    cache.put(versioned("1"))
    cache.remove("FederatedJob", "consortium", "credit", "1", "2")
    cache.put(versioned("1"))
    assert uid_of(cache) == ""
    cache.put(versioned("3"))
    assert uid_of(cache) == "1"


def test_what_is_gone_is_not_remembered_for_ever() -> None:
    cache = Cache()
    for number in range(REMEMBERED + 1):
        cache.remove("FederatedJob", "consortium", "credit", str(number), "2")
    cache.put(versioned("1", uid=str(REMEMBERED)))
    assert uid_of(cache) == ""
    cache.put(versioned("1", uid="0"))
    assert uid_of(cache) == "0"


def test_the_index_by_job_follows() -> None:
    cache = Cache()
    made = world.claim("bank-a")
    made.update(kind="Pod", metadata={"name": "p", "namespace": "x", "uid": "1", "labels": {"hanse.dev/job-uid": "u"}})
    cache.put(made)
    assert len(cache.pods_of(kinds.POD, "u", "x")) == 1
    cache.remove("Pod", "x", "p", "1")
    assert cache.pods_of(kinds.POD, "u", "x") == []
