"""One release for (kind, round, attempt): what was paid leaves, again if it was lost. Used by `private`.

The order makes a crash harmless: build the bytes, store them, pay for them, let them leave. A question that comes again
is answered with the stored bytes, which costs nothing more; another question or lost bytes take a new attempt.
Every failure is a Refused: without a slot, a lease or a disk nothing leaves.
"""

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from hanse.api.certificate import SignedCertificate
from hanse.api.privacy import PrivacyPlan, ReleaseKind, Slot
from hanse.api.replies import ReplyCode
from hanse.runtime.gate.outbox import Outbox, Stored
from hanse.runtime.gate.refused import Refused
from hanse.runtime.ledger import (
    DatasetMoved,
    Lease,
    LeaseLost,
    LedgerDamaged,
    LedgerError,
    LedgerUnavailable,
    NotReserved,
    Sign,
    SlotUsed,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

_CODES: Final[dict[type[LedgerError], ReplyCode]] = {
    LedgerUnavailable: ReplyCode.LEDGER_UNAVAILABLE,
    LeaseLost: ReplyCode.LEASE_LOST,
    NotReserved: ReplyCode.BUDGET_NOT_RESERVED,
    SlotUsed: ReplyCode.ALREADY_RELEASED,
    DatasetMoved: ReplyCode.DATASET_MOVED,
    LedgerDamaged: ReplyCode.BUDGET_DAMAGED,
}
#: Of stored releases: a server that goes on from a checkpoint asks for earlier rounds again. It leaves room for the
#: rest in the gate's volume.
KEPT_BYTES: Final = 512 << 20


class Releases:
    """The releases of one participation. `open_lease` takes its account over; it is called before the first."""

    def __init__(
        self,
        plan: PrivacyPlan,
        open_lease: Callable[[], Lease],
        outbox: Outbox,
        kept_bytes: int = KEPT_BYTES,
        plan_hash: str = "",
    ) -> None:
        self._plan = plan
        self._plan_hash = plan_hash
        self._open_lease = open_lease
        self._outbox = outbox
        self._kept_bytes = kept_bytes
        self._lease: Lease | None = None
        self._closed = False

    def again(self, kind: ReleaseKind, number: int, question: str) -> Stored | None:
        """What answered this `question` before; None when a fresh release is possible.

        Raises Refused when there is neither.
        """
        asked, with_ledger = self._asked(question), self._paid()
        for slot in self._slots(kind, number):
            paid, stored = with_ledger.get(slot), self._outbox.get(slot)
            if stored is not None and stored.question == asked and paid in (None, stored.digest):
                self._charge(stored)  # again: it costs nothing, and the first time it may not have arrived
                return stored
            if paid is None:
                return None
        raise Refused(ReplyCode.ALREADY_RELEASED, f"{kind.value} of round {number} has no attempt left")

    def release(self, kind: ReleaseKind, number: int, question: str, make: Callable[[Slot], bytes]) -> Stored:
        """Make, store and pay for the bytes of a fresh attempt; on return they may leave. Raises Refused."""
        paid = self._paid()
        slot = next((s for s in self._slots(kind, number) if s not in paid), None)
        if slot is None:
            raise Refused(ReplyCode.ALREADY_RELEASED, f"{kind.value} of round {number} has no attempt left")
        stored = Stored(slot, self._asked(question), make(slot))
        self._outbox.put(stored)
        self._charge(stored)
        self._outbox.trim(self._kept_bytes, slot)
        return stored

    def lost(self, kind: ReleaseKind, number: int) -> bool:
        """Whether a release was paid for whose bytes this gate does not have: a gate before it made them."""
        paid = self._paid()
        stored = ((slot, self._outbox.get(slot)) for slot in self._slots(kind, number) if slot in paid)
        return any(kept is None or kept.digest != paid[slot] for slot, kept in stored)

    @property
    def held(self) -> bool:
        """Whether this gate has opened the account."""
        return self._lease is not None

    def certify(self, make: Callable[[Lease], SignedCertificate]) -> None:
        """Leave the owner a certificate of what was paid for. Raises Refused when it was not possible."""
        self._guarded(lambda lease: lease.certify(make(lease)))

    def close(self, sign: Sign) -> None:
        """Nothing more will leave: give the rest of the reservation back. Raises Refused when it was not possible."""
        self._closed = True
        self._guarded(lambda lease: lease.close(sign))

    def _asked(self, question: str) -> str:
        """Bytes that were noised for another plan answer no question of this one: its price is another."""
        return f"{self._plan_hash} {question}"

    def _slots(self, kind: ReleaseKind, number: int) -> list[Slot]:
        if self._closed:
            raise Refused(ReplyCode.BUDGET_NOT_RESERVED, "the account is closed")
        slots = [Slot(kind, number, attempt) for attempt in range(1, self._plan.max_attempts + 1)]
        allowed = [slot for slot in slots if self._plan.allows(slot)]
        if not allowed:
            raise Refused(ReplyCode.NOT_ALLOWED_IN_REPLY, f"the plan has no {kind.value} in round {number}")
        return allowed

    def _paid(self) -> dict[Slot, str]:
        """Digest of what was paid for, by slot."""
        return self._guarded(lambda lease: {slot: entry.digest for slot, entry in lease.releases().items()})

    def _charge(self, stored: Stored) -> None:
        self._guarded(lambda lease: lease.charge(stored.slot, stored.digest))

    def _guarded(self, call: Callable[[Lease], T]) -> T:
        try:
            if self._lease is None:
                self._lease = self._open_lease()
            return call(self._lease)
        except LedgerError as error:
            if isinstance(error, LeaseLost | SlotUsed):
                # For the next message: by then the operator may have renewed it, and what was paid is read anew (the
                # answer to a payment may have been lost).
                self._lease = None
            log.error("ledger: %s: %s", type(error).__name__, error)
            code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), ReplyCode.BUDGET_DAMAGED)
            raise Refused(code, f"the ledger does not pay: {type(error).__name__}") from error
