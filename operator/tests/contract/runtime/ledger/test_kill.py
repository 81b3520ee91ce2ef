"""kill -9 between each pair of steps (open, store, charge, release, acknowledge, close), in a loop, at both doors.

After every kill: what left is in the ledger with the same digest, and no slot left with two different noisings.
"""

from pathlib import Path

import pytest

from tests.contract.runtime.ledger import victim
from tests.contract.runtime.ledger.worlds import ACCOUNT, World, account

#: open, then four steps for each of five rounds, then close.
STEPS = 22


def live(world: World, home: Path, after: int) -> int:
    """One life of the gate, killed after so many steps."""
    code = victim.fork(world, home, after)
    assert code in (0, -9, 4)
    return code


def check(world: World, home: Path) -> list[str]:
    """What left is paid, each slot for one noising."""
    wire = home / "wire"
    left = [line.split() for line in wire.read_text().splitlines()] if wire.exists() else []
    by_slot = dict(left)
    assert all(by_slot[key] == digest for key, digest in left), "one slot left with two noisings"
    stored = world.status()
    releases = stored.accounts[ACCOUNT].releases
    assert by_slot.items() <= {key: r.digest for key, r in releases.items()}.items(), "something left unpaid"
    assert stored.entries == len(releases)
    return sorted(by_slot)


def test_a_gate_that_is_killed_at_every_step_pays_for_all_that_left(world: World, tmp_path: Path) -> None:
    world.reserve(account())
    home = tmp_path / "gate"
    home.mkdir()
    # Lives of one to five steps after the opening: the loop visits every gap between two steps of a round.
    lives = 0
    while live(world, home, 1 + lives % 5) == -9:
        check(world, home)
        lives += 1
        assert lives < 60, "the gate makes no progress"
    assert check(world, home) == [f"Train-{number}-1" for number in range(1, 6)]
    closed = world.status().accounts[ACCOUNT].closed
    assert closed is not None
    assert closed.cause == "Signed"


def test_stored_bytes_that_are_lost_cost_a_new_attempt(world: World, tmp_path: Path) -> None:
    """The gate's volume goes with its pod: what was paid and is lost is never made anew under the same charge."""
    world.reserve(account())
    home = tmp_path / "gate"
    home.mkdir()
    assert live(world, home, 2) == -9  # opened, stored; killed when it had paid
    (home / "bytes-1-1").unlink()
    assert live(world, home, STEPS + 4) == 0
    assert check(world, home)[0] == "Train-1-2"


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4])
def test_each_gap_of_the_first_round(world: World, tmp_path: Path, after: int) -> None:
    world.reserve(account())
    home = tmp_path / "gate"
    home.mkdir()
    assert live(world, home, after) == -9
    check(world, home)
    assert live(world, home, STEPS + 4) == 0
    assert check(world, home) == [f"Train-{number}-1" for number in range(1, 6)]
