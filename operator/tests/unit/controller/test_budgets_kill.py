"""The operator is killed before each of its writes: while it reserves, and while it folds. A new one goes on.

After it: one reservation, not two or half of one; what was released is spent, once; the chain has one page.
"""

from typing import Any

import pytest

from tests.unit.controller.owners import PrivateRig, job
from tests.unit.controller.world import MemoryDoor

#: More writes than either part makes.
MOST = 40


class Killed(BaseException):
    """SIGKILL: nothing catches it."""


class MortalDoor(MemoryDoor):
    """Dies before a write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes_left: int | None = None

    def _call(self, verb: str, kind: str, namespace: str, name: str) -> None:
        if verb not in ("get", "list", "review") and self.writes_left is not None:
            if self.writes_left == 0:
                self.writes_left = None
                raise Killed
            self.writes_left -= 1
        super()._call(verb, kind, namespace, name)


class MortalRig(PrivateRig):
    def __init__(self) -> None:
        super().__init__()
        self.door: MortalDoor = MortalDoor()
        self.restart()

    async def die_after(self, writes: int) -> bool:
        """Work until killed, then as a new process until all is done; whether it was killed."""
        self.door.writes_left = writes
        killed = False
        for _ in range(6):
            try:
                await self.advance(1)
            except Killed:
                killed = True
                self.restart()
        self.door.writes_left = None
        await self.advance(31)
        await self.advance(1)
        return killed


async def prepared() -> MortalRig:
    rig = MortalRig()
    rig.owners("bank-a", "bank-b")
    await rig.settle()
    return rig


async def kill_everywhere(part: Any) -> int:
    """Run a part once for each of its writes; how many it has."""
    for writes in range(MOST):
        if not await part(writes):
            return writes
    raise AssertionError("it never ends")


@pytest.mark.parametrize("writes", range(14))
async def test_killed_while_it_reserves(writes: int) -> None:
    """Two budgets, their four copies, the job's status before and at its start, and a few writes more."""
    rig = await prepared()
    rig.door.put(job())
    assert await rig.die_after(writes)
    assert rig.accepted()[0] == "True"
    for member in ("bank-a", "bank-b"):
        assert len(rig.accounts(member)) == 1
        reserved = rig.budget(member).reserved
        assert reserved is not None
        assert reserved.epsilon == "3.000"
        assert rig.client_job(member) is not None


async def test_killed_while_it_folds() -> None:
    async def part(writes: int) -> bool:
        rig = await prepared()
        rig.door.put(job(members=("bank-a",), rounds=1))
        for _ in range(5):
            await rig.advance(1)
        rig.pay("bank-a", "credit", "Train-1-1")
        rig.close("bank-a", "credit")
        killed = await rig.die_after(writes)
        stored = rig.budget()
        assert stored.accounts == {}
        assert stored.spent is not None
        assert stored.spent.epsilon == "3.000"
        assert stored.pages == len(rig.pages()) == 1
        return killed

    assert await kill_everywhere(part) > 2


@pytest.mark.parametrize("deleted", range(8))
async def test_a_budget_that_is_made_anew_while_the_operator_dies_forgets_nothing(deleted: int) -> None:
    rig = await prepared()
    rig.door.put(job(members=("bank-a",), rounds=1))
    for _ in range(5):
        await rig.advance(1)
    rig.pay("bank-a", "credit", "Train-1-1")
    await rig.advance(1)
    rig.door.remove("PrivacyBudget", "bank-a", "borrowers")
    rig.owners("bank-a")
    await rig.die_after(deleted)
    stored = rig.budget()
    assert stored.spent is not None
    assert abs(float(stored.spent.epsilon) - 3.0) < 0.01
