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

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Protocol


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


@dataclass(frozen=True, order=True)
class Slot:
    """One release that a plan has. `kind` is a value of `hanse.api.privacy.ReleaseKind`; rounds from 1 (0: before the
    first), attempts from 1."""

    kind: str
    round: int
    attempt: int = 1


@dataclass(frozen=True)
class Entry:
    """One paid release: sha256 of the bytes that left or may leave, and when it was paid."""

    slot: Slot
    digest: str
    at: datetime


@dataclass(frozen=True)
class Claim:
    """What a gate opens its account with.

    `account` is the Participation's uid (hanse run: the run's id and the participant's name); `dataset_digest` is
    `sha256:…` of the data as the gate sees it, empty when it cannot see it.
    """

    account: str
    plan_hash: str
    dataset: str
    dataset_digest: str = ""


@dataclass(frozen=True)
class Closing:
    """The gate's last word: nothing more will leave. `signature` is Ed25519 over `hanse.pki.identity.closing_bytes`,
    base64; `public_key` is the owner's, PEM."""

    signature: str
    public_key: str


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

    def close(self, closing: Closing) -> None:
        """Give the rest of the reservation back. Idempotent for the same closing; no charge after it.

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
