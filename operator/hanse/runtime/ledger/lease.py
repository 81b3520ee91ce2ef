"""What both doors' leases are made of: an account as one gate has opened it, and how it ends. Used by file and kube."""

from collections.abc import Mapping
from datetime import datetime

from hanse.api.budget import Account, Closed
from hanse.api.closing import statement
from hanse.runtime.ledger import Claim, Entry, LeaseLost, Sign, Slot
from hanse.runtime.ledger.rules import entries


class Opened:
    """`Lease` but for its writes; `_account` is as of the last call."""

    def __init__(self, claim: Claim, account: Account) -> None:
        self._claim = claim
        self._account = account
        self._epoch = account.epoch

    @property
    def epoch(self) -> int:
        """See `Lease.epoch`."""
        return self._epoch

    def releases(self) -> Mapping[Slot, Entry]:
        """As of the last call."""
        return entries(self._account)

    def _is_closed(self, account: Account | None) -> bool:
        """Also when it was folded since."""
        return account is None or (account.closed is not None and account.epoch == self._epoch)

    def _closing(self, account: Account, sign: Sign, at: datetime) -> Closed:
        """The end of this account. Raises LeaseLost."""
        if account.epoch != self._epoch:
            raise LeaseLost(f"epoch {self._epoch} is fenced: the account was opened again")
        return Closed(cause="Signed", at=at, signature=sign(statement(self._claim.account, account)))
