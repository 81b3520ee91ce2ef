"""The ledger of `hanse run`: a directory of the data owner's, one sub-directory for each population.

Reserving and folding are done by the process that starts the gates (`admin`), through the same files.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from hanse.api.budget import Account
from hanse.api.certificate import SignedCertificate
from hanse.runtime.durable import replace_file
from hanse.runtime.ledger import Claim, LedgerUnavailable, Sign, Slot
from hanse.runtime.ledger.book import FILE, Book, utc_now
from hanse.runtime.ledger.lease import Opened
from hanse.runtime.ledger.rules import check_account, check_charge, check_dataset

#: Beside the populations; `hanse run` tells the owner where.
CERTIFICATES = "certificates"


class FileLedger:
    """One population. `second`: a directory where each ledger's head is kept once more."""

    def __init__(
        self, directory: Path, population: str, second: Path | None = None, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._directory = directory
        self._population = population
        self._second = second
        self._now = now
        self._book = Book(directory, population, second)

    def open(self, claim: Claim) -> "FileLease":
        """See `Ledger.open`."""
        self._check_dataset(claim)
        with self._book.locked():
            account = check_account(self._book.account(claim.account), claim, self._now())
            epoch = account.epoch + 1
            data = {"dataset": claim.dataset, "digest": claim.dataset_digest} if claim.dataset_digest else {}
            self._book.write("open", self._now(), account=claim.account, epoch=epoch, **data)
            taken = self._book.status.accounts[claim.account]
        # Two populations may have opened with the same data at once: both see each other now.
        self._check_dataset(claim)
        return FileLease(self._book, claim, taken, self._now, self._directory / CERTIFICATES)

    def _check_dataset(self, claim: Claim) -> None:
        if not claim.dataset_digest:
            return
        for path in sorted(self._directory.glob(f"*/{FILE}")):
            if path.parent.name == self._population:
                continue
            other = Book(self._directory, path.parent.name, self._second)
            with other.locked():
                if claim.dataset_digest in other.status.datasets:
                    check_dataset(claim, self._population, other.population)


class FileLease(Opened):
    """See `Lease`."""

    def __init__(
        self, book: Book, claim: Claim, account: Account, now: Callable[[], datetime], certificates: Path
    ) -> None:
        super().__init__(claim, account)
        self._book = book
        self._now = now
        self._certificates = certificates

    def charge(self, slot: Slot, digest: str) -> None:
        """See `Lease.charge`."""
        name = self._claim.account
        with self._book.locked():
            account = check_account(self._book.account(name), self._claim, self._now())
            if not check_charge(account, self._epoch, slot, digest):
                self._book.write("charge", self._now(), account=name, slot=slot.key, digest=digest)
            self._account = self._book.status.accounts[name]

    def certify(self, signed: SignedCertificate) -> None:
        """See `Lease.certify`."""
        path = self._certificates / f"{signed.name}.json"
        try:
            if not path.exists():
                replace_file(path, signed.to_text().encode())
        except OSError as error:
            raise LedgerUnavailable(f"certificate {path}: {error.strerror}") from error

    def close(self, sign: Sign) -> None:
        """See `Lease.close`. An account that is closed, or folded since, is closed."""
        name = self._claim.account
        with self._book.locked():
            known = self._book.account(name)
            if self._is_closed(known):
                return
            account = check_account(known, self._claim, self._now())
            closed = self._closing(account, sign, self._now())
            self._book.write("close", self._now(), account=name, closed=closed.to_wire())
            self._account = self._book.status.accounts[name]
