"""What both doors check before they write: pure functions over the account as it was just read."""

from datetime import datetime

from hanse.api.budget import Account, Release
from hanse.runtime.ledger import Claim, DatasetMoved, Entry, LeaseLost, NotReserved, Slot, SlotUsed


def check_account(account: Account | None, claim: Claim, now: datetime) -> Account:
    """The account that a claim may use.

    Raises:
        NotReserved: there is none, it is closed, or it was reserved for something else.
        LeaseLost: its lease is over.
    """
    if account is None:
        raise NotReserved(f"no account {claim.account}: nothing was reserved, or it was folded")
    if account.closed is not None:
        raise NotReserved(f"account {claim.account} is closed ({account.closed.cause})")
    if account.plan_hash != claim.plan_hash or account.plan != claim.plan:
        raise NotReserved(f"account {claim.account} was reserved for plan {account.plan_hash}, not {claim.plan_hash}")
    if now >= account.lease_until:
        raise LeaseLost(f"the lease of account {claim.account} was over at {account.lease_until.isoformat()}")
    return account


def check_charge(account: Account, epoch: int, slot: Slot, digest: str) -> bool:
    """Whether the slot is already paid, for these very bytes.

    Raises:
        LeaseLost: another gate has opened the account.
        NotReserved: the plan does not have the slot.
        SlotUsed: it was paid for other bytes.
    """
    if account.epoch != epoch:
        raise LeaseLost(f"epoch {epoch} is fenced: the account was opened again (epoch {account.epoch})")
    if not account.plan.allows(slot):
        raise NotReserved(f"the plan has no release {slot.key}")
    paid = account.releases.get(slot.key)
    if paid is not None and paid.digest != digest:
        raise SlotUsed(f"{slot.key} was paid for other bytes")
    return paid is not None


def check_dataset(claim: Claim, budget: str, known_in: str | None) -> None:
    """One person's data never counts against two budgets.

    Raises:
        DatasetMoved: the digest is known to another budget.
    """
    if known_in is not None and known_in != budget:
        raise DatasetMoved(f"dataset {claim.dataset}: the same data counts against PrivacyBudget {known_in}")


def entries(account: Account) -> dict[Slot, Entry]:
    """An account's releases as the gate sees them."""
    return {Slot.parse(key): _entry(Slot.parse(key), release) for key, release in account.releases.items()}


def _entry(slot: Slot, release: Release) -> Entry:
    return Entry(slot, release.digest, release.at)
