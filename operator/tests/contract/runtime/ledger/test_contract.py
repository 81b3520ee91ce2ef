"""What every ledger promises its gates, whatever the door."""

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest

from hanse.api.closing import statement
from hanse.api.privacy import ReleaseKind
from hanse.pki import identity
from hanse.runtime.ledger import (
    DatasetMoved,
    LeaseLost,
    NotReserved,
    Slot,
    SlotUsed,
)
from tests.contract.runtime.ledger.worlds import ACCOUNT, CLAIM, DATA, PLAN, KubeWorld, World, account, certificate

ONE, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
FIRST = Slot(ReleaseKind.TRAIN, 1, 1)
KEY = identity.new_identity()


def sign(message: bytes) -> str:
    return identity.sign(KEY.private, message)


def test_nothing_is_paid_without_a_reservation(world: World) -> None:
    with pytest.raises(NotReserved):
        world.ledger().open(CLAIM)


def test_a_charge_is_written_before_it_returns(world: World) -> None:
    world.reserve(account())
    lease = world.ledger().open(CLAIM)
    lease.charge(FIRST, ONE)
    lease.charge(Slot(ReleaseKind.TRAIN, 2, 1), OTHER)
    stored = world.status()
    assert {key: r.digest for key, r in stored.accounts[ACCOUNT].releases.items()} == {
        "Train-1-1": ONE,
        "Train-2-1": OTHER,
    }
    assert stored.entries == 2
    assert lease.releases()[FIRST].digest == ONE


def test_the_same_bytes_are_free_and_others_are_refused(world: World) -> None:
    world.reserve(account())
    lease = world.ledger().open(CLAIM)
    lease.charge(FIRST, ONE)
    lease.charge(FIRST, ONE)
    assert world.status().entries == 1
    with pytest.raises(SlotUsed):
        lease.charge(FIRST, OTHER)
    lease.charge(dataclasses.replace(FIRST, attempt=2), OTHER)
    assert world.status().entries == 2


@pytest.mark.parametrize(
    "slot",
    [
        Slot(ReleaseKind.TRAIN, 0, 1),
        Slot(ReleaseKind.TRAIN, 6, 1),
        Slot(ReleaseKind.TRAIN, 1, 3),
        Slot(ReleaseKind.EVALUATE, 1, 1),
        Slot(ReleaseKind.STATISTICS, 0, 1),
    ],
)
def test_a_slot_that_the_plan_does_not_have_is_refused(world: World, slot: Slot) -> None:
    world.reserve(account())
    lease = world.ledger().open(CLAIM)
    with pytest.raises(NotReserved):
        lease.charge(slot, ONE)
    assert world.status().entries == 0


def test_the_older_of_two_gates_is_fenced(world: World) -> None:
    world.reserve(account())
    older = world.ledger().open(CLAIM)
    older.charge(FIRST, ONE)
    newer = world.ledger().open(CLAIM)
    assert newer.epoch == older.epoch + 1
    assert newer.releases()[FIRST].digest == ONE
    with pytest.raises(LeaseLost):
        older.charge(Slot(ReleaseKind.TRAIN, 2, 1), OTHER)
    with pytest.raises(LeaseLost):
        older.charge(FIRST, ONE)
    with pytest.raises(LeaseLost):
        older.close(sign)
    newer.charge(FIRST, ONE)
    with pytest.raises(SlotUsed):
        newer.charge(FIRST, OTHER)


def test_after_the_lease_nothing_leaves(world: World) -> None:
    world.reserve(account(lease_seconds=60))
    lease = world.ledger().open(CLAIM)
    world.clock.time += timedelta(seconds=60)
    with pytest.raises(LeaseLost):
        lease.charge(FIRST, ONE)
    with pytest.raises(LeaseLost):
        world.ledger().open(CLAIM)


def test_an_account_that_is_gone_pays_nothing(world: World) -> None:
    """The gate was cut off, its job was deleted, the operator has folded what was paid."""
    world.reserve(account())
    lease = world.ledger().open(CLAIM)
    lease.charge(FIRST, ONE)
    world.fold()
    with pytest.raises(NotReserved):
        lease.charge(Slot(ReleaseKind.TRAIN, 2, 1), OTHER)
    with pytest.raises(NotReserved):
        lease.charge(FIRST, ONE)
    assert world.status().accounts == {}


def test_another_plan_is_not_what_was_reserved(world: World) -> None:
    world.reserve(account())
    with pytest.raises(NotReserved):
        world.ledger().open(dataclasses.replace(CLAIM, plan_hash="sha256:" + "c" * 64))
    louder = PLAN.model_copy(update={"noise_multipliers": ["1"] * 5})
    with pytest.raises(NotReserved):
        world.ledger().open(dataclasses.replace(CLAIM, plan=louder))


def test_a_signed_close_says_what_was_released_and_ends_the_account(world: World) -> None:
    world.reserve(account())
    lease = world.ledger().open(CLAIM)
    lease.charge(FIRST, ONE)
    lease.close(sign)
    lease.close(sign)
    stored = world.status().accounts[ACCOUNT]
    assert stored.closed is not None
    assert stored.closed.signature is not None
    assert identity.verifies(KEY.public, stored.closed.signature, statement(ACCOUNT, stored))
    with pytest.raises(NotReserved):
        lease.charge(Slot(ReleaseKind.TRAIN, 2, 1), OTHER)
    with pytest.raises(NotReserved):
        world.ledger().open(CLAIM)


def test_the_same_data_never_counts_against_two_budgets(world: World) -> None:
    world.reserve(account())
    world.reserve(account(), "customers")
    world.ledger().open(CLAIM)
    with pytest.raises(DatasetMoved):
        world.ledger("customers").open(CLAIM)
    assert world.status("customers").accounts[ACCOUNT].epoch == 0
    world.ledger().open(CLAIM)


def test_changed_data_keeps_the_account(world: World) -> None:
    world.reserve(account())
    world.ledger().open(CLAIM).charge(FIRST, ONE)
    changed = dataclasses.replace(CLAIM, dataset_digest="sha256:" + "e" * 64)
    assert world.ledger().open(changed).releases()[FIRST].digest == ONE
    assert len(world.status().datasets) == 2


def test_data_that_the_operator_knows_under_a_deleted_budget_is_refused(kubeconfig: Path, tmp_path: Path) -> None:
    world = KubeWorld(kubeconfig, tmp_path)
    world.reserve(account())
    seen = {"dataset": "loans", "at": "2026-11-22T12:00:00Z", "population": "customers"}
    world.patch({"datasets": {DATA: seen}})
    with pytest.raises(DatasetMoved, match="customers"):
        world.ledger().open(CLAIM)


def test_a_certificate_is_kept_once_and_outlives_the_account(world: World) -> None:
    world.reserve(account())
    lease = world.ledger().open(CLAIM)
    first = certificate(lease.epoch)
    lease.certify(first)
    lease.certify(first.model_copy(update={"public_key": "another"}))
    world.fold()
    assert world.certificates() == [first]
