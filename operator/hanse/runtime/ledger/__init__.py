"""The owner's ledger as the gate uses it: open an account, pay for each release before it leaves, close it signed.

Two doors, one contract (operator/tests/contract/runtime/ledger): `file.FileLedger` (hanse run) and `kube.KubeLedger`
(a gate in a pod). Every call raises a `LedgerError`, and after one nothing may leave:

    LedgerError            `temporary` says whether the same call may be made again
    ├── LedgerUnavailable  temporary: no answer, or none that can be trusted; the write may have landed or not
    ├── LeaseLost          another gate holds the account, or the lease is over (renewed: open again)
    ├── NotReserved        no account, a closed one, another plan hash, or a slot that the plan does not have
    ├── SlotUsed           the slot was paid for other bytes: a new attempt is needed
    ├── DatasetMoved       the dataset's digest belongs to another population's budget
    └── LedgerDamaged      the ledger contradicts itself, or is older than its second copy

The order that makes a crash harmless (called so by the gate's release pipeline):
build bytes -> store bytes with their digest -> `charge(slot, digest)` -> push -> forget. `charge` is idempotent for the
same slot and digest, so a call that timed out is made again with the stored bytes and costs nothing more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Protocol

from hanse.api.certificate import SignedCertificate
from hanse.api.privacy import PrivacyPlan, Slot

__all__ = [
    "Claim",
    "DatasetMoved",
    "Entry",
    "Lease",
    "LeaseLost",
    "Ledger",
    "LedgerDamaged",
    "LedgerError",
    "LedgerUnavailable",
    "NotReserved",
    "Sign",
    "Slot",
    "SlotUsed",
]

#: Ed25519 by the owner's identity key, base64 (`hanse.pki.identity.sign`).
Sign = Callable[[bytes], str]


class LedgerError(Exception):
    """The ledger does not allow it."""

    temporary: ClassVar[bool] = False


class LedgerUnavailable(LedgerError):
    """It could not be asked."""

    temporary = True


class LeaseLost(LedgerError):
    """This gate does not hold the account (any more)."""


class NotReserved(LedgerError):
    """Nothing was reserved for this."""


class SlotUsed(LedgerError):
    """The slot was paid for other bytes."""


class DatasetMoved(LedgerError):
    """The dataset counts against another population."""


class LedgerDamaged(LedgerError):
    """It cannot be trusted."""


@dataclass(frozen=True)
class Entry:
    """One paid release: sha256 of the bytes that left or may leave, and when it was paid."""

    slot: Slot
    digest: str
    at: datetime


@dataclass(frozen=True)
class Claim:
    """What a gate opens its account with.

    `account` is `names.account_id(job uid, participant)`; `plan` is what this gate enforces and `plan_hash` its
    client.json's: both must be what was reserved. `dataset_digest` is `digest.dataset_digest` of the data as the gate
    sees it, empty when it sees none.
    """

    account: str
    plan: PrivacyPlan
    plan_hash: str
    dataset: str
    dataset_digest: str = ""


class Lease(Protocol):
    """An account that this gate holds. Opening it again, anywhere, ends this one."""

    @property
    def epoch(self) -> int:
        """Which opening of the account this is, from 1."""
        ...

    def releases(self) -> Mapping[Slot, Entry]:
        """All that was paid, by any gate of the participation, as of the last call."""
        ...

    def charge(self, slot: Slot, digest: str) -> None:
        """Pay for a release, durably. The bytes may leave once this has returned.

        Raises:
            LedgerError: see the module's docstring.
        """
        ...

    def certify(self, signed: SignedCertificate) -> None:
        """Keep a certificate where its owner finds it after the job; the first of a name stays.

        Raises:
            LedgerError: see the module's docstring.
        """
        ...

    def close(self, sign: Sign) -> None:
        """Give the rest of the reservation back: nothing can be paid afterwards. Idempotent.

        `sign` gets the statement (`hanse.api.closing.statement`: account, plan, releases) and returns its signature.

        Raises:
            LedgerError: see the module's docstring.
        """
        ...


class Ledger(Protocol):
    """A population's budget, seen from a gate."""

    def open(self, claim: Claim) -> Lease:
        """Take the account over: every lease on it that was opened before is lost.

        Raises:
            LedgerError: see the module's docstring.
        """
        ...
