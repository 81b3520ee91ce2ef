"""What the operator remembers between visits: no more than it needs, and not what the API server knows better."""

import copy

import pytest

from hanse.api import names
from hanse.controller import kinds
from hanse.controller.door import Json
from tests.unit.controller import world
from tests.unit.controller.rig import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_nothing_is_remembered_of_jobs_that_are_gone(rig: Rig) -> None:
    await rig.start("bank-a", "bank-b", "bank-c", quorum=2)
    left = rig.participation("bank-c")
    assert left is not None
    rig.door.remove("Participation", "bank-c", left["metadata"]["name"])
    await rig.settle()
    assert rig.observer.remembered() == 1
    rig.door.remove("FederatedJob", "consortium", "credit")
    await rig.settle()
    assert rig.observer.remembered() == 0


async def test_what_the_cache_missed_is_not_asked_for_again_and_again(rig: Rig) -> None:
    """A watch that lost the server Job: one more visit must find it, not make a new certificate each time."""
    await rig.start()
    server = rig.server_job()
    assert server is not None
    before = rig.certificate("consortium", names.server_tls_name("credit"))
    meta = server["metadata"]
    rig.cache.remove("Job", "consortium", meta["name"], "")
    rig.cache._views["Job"].pop(("consortium", meta["name"]))
    for number in range(5):
        await rig.push(completed=1, sequence=number)
    assert rig.cache.job("consortium", meta["name"]) is not None
    made = rig.door.calls.count(("apply", "Secret", "consortium", names.server_tls_name("credit")))
    assert made <= 2
    assert before


async def test_what_goes_between_two_calls_is_made_anew(rig: Rig) -> None:
    """Create says that the earlier job's claim is there, and the next call no longer finds it."""
    create = rig.door.create
    gone: list[str] = []

    async def there_a_moment_ago(manifest: Json) -> Json | None:
        if manifest["kind"] == "PersistentVolumeClaim" and not gone:
            gone.append(manifest["metadata"]["name"])
            return None
        return await create(manifest)

    rig.door.create = there_a_moment_ago  # type: ignore[method-assign]
    await rig.start()
    await rig.advance(10)
    assert rig.server_job() is not None
    assert rig.door.find(kinds.CLAIM, "consortium", gone[0]) is not None, "its pod would wait for it for ever"


async def test_a_server_of_an_earlier_job_is_not_this_ones(rig: Rig) -> None:
    """kubectl delete and create again: what the first one owned takes a moment to go."""
    await rig.start()
    old = copy.deepcopy(rig.server_job())
    claim = copy.deepcopy(rig.door.find(kinds.CLAIM, "consortium", names.state_claim_name("credit")))
    assert old is not None
    assert claim is not None
    rig.door.remove("FederatedJob", "consortium", "credit")
    rig.door.put({**old, "status": world.job_status(Complete="")})
    rig.door.put(claim)
    rig.door.put(world.federated_job())
    await rig.settle()
    assert rig.condition("Complete")[0] != "True"
    assert rig.condition("ServerReady") == ("False", "NameTaken")
    rig.door.remove("PersistentVolumeClaim", "consortium", claim["metadata"]["name"])
    await rig.advance(10)
    assert rig.condition("ServerReady") == ("False", "NameTaken")
    rig.door.remove("Job", "consortium", old["metadata"]["name"])
    await rig.advance(10)
    assert rig.condition("ServerReady")[1] != "NameTaken"
    made = rig.server_job()
    assert made is not None
    assert made["metadata"]["ownerReferences"][0]["uid"] == rig.job["metadata"]["uid"]
