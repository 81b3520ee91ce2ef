"""Reserving and folding in `hanse run`'s ledgers, where no operator does it. Run by `python3 -m hanse.runtime.ledger`.

The arithmetic is the operator's (`hanse.dp.book`): the same job is refused with the same words. All participants are
reserved or none; ledgers are locked in one order, so two runs cannot wait for each other.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hanse.api.budget import Account, Closed, PrivacyBudgetSpec
from hanse.dp.book import Verdict, counted, weigh, without_account
from hanse.runtime.ledger import LedgerError
from hanse.runtime.ledger.book import Book, utc_now


class Exceeded(LedgerError):
    """It does not fit. The message names the budget and what is left."""


class SpecChanged(LedgerError):
    """Unit or delta of a budget cannot change: what was spent was counted in them."""


@dataclass(frozen=True)
class Request:
    """One participant's part of a run. `spec` is the PrivacyBudget that the population has in the manifests."""

    population: str
    spec: PrivacyBudgetSpec
    name: str
    account: Account


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for another one with its number."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Process":
        """A process that runs.

        Raises:
            OSError: it does not.
        """
        return cls(pid, _started(pid))

    @property
    def runs(self) -> bool:
        """Whether it still does."""
        try:
            return _started(self.pid) == self.started
        except OSError:
            return False


def reserve(
    directory: Path,
    requests: Sequence[Request],
    holder: Process,
    second: Path | None = None,
    now: Callable[[], datetime] = utc_now,
) -> dict[str, Verdict]:
    """Reserve the worst case of every request; what each would have met, by account.

    Raises:
        LedgerError: one of them does not fit, or a ledger cannot be trusted; then nothing is reserved.
    """
    books = {p: Book(directory, p, second) for p in sorted({r.population for r in requests})}
    with ExitStack() as stack:
        for book in books.values():
            stack.enter_context(book.locked())
            _reclaim(book, now())
        verdicts = _weigh_all(books, requests)
        for request in requests:
            book = books[request.population]
            if book.spec != request.spec:
                book.write("budget", now(), spec=request.spec.to_wire())
            value, by = request.account.to_wire(), [holder.pid, holder.started]
            book.write("reserve", now(), account=request.name, value=value, holder=by)
    return verdicts


def _weigh_all(books: dict[str, Book], requests: Sequence[Request]) -> dict[str, Verdict]:
    """Two participants of one population are weighed together."""
    states = {population: book.status for population, book in books.items()}
    verdicts = {}
    for request in requests:
        book, state = books[request.population], states[request.population]
        known = book.spec
        if known is not None and (known.unit, known.delta) != (request.spec.unit, request.spec.delta):
            raise SpecChanged(f"PrivacyBudget {request.population}: unit and delta cannot change")
        if request.name in state.accounts:
            raise Exceeded(f"PrivacyBudget {request.population}: account {request.name} is reserved already")
        verdict = verdicts[request.name] = weigh(request.spec, state, request.account.plan)
        if not verdict.fits:
            raise Exceeded(f"PrivacyBudget {request.population}: {verdict.why_not or verdict}")
        states[request.population] = state.model_copy(
            update={"accounts": {**state.accounts, request.name: request.account}}
        )
    return verdicts


def settle(
    directory: Path,
    population: str,
    name: str,
    second: Path | None = None,
    now: Callable[[], datetime] = utc_now,
) -> None:
    """Fold an account whose gates have ended: what was released is spent, the rest is returned. Idempotent.

    Raises:
        LedgerError: the ledger cannot be trusted or written.
    """
    book = Book(directory, population, second)
    with book.locked():
        if book.account(name) is not None:
            _fold(book, name, now())


def find(directory: Path, population: str, name: str, second: Path | None = None) -> Account | None:
    """An account that is not folded yet, with all that its gates have paid for.

    Raises:
        LedgerError: the ledger cannot be trusted.
    """
    book = Book(directory, population, second)
    with book.locked():
        return book.account(name)


def show(directory: Path, population: str, second: Path | None = None) -> dict[str, object]:
    """A budget's numbers, as `kubectl get privacybudgets` shows them; empty when nothing was ever reserved."""
    book = Book(directory, population, second)
    with book.locked():
        if book.spec is None:
            return {}
        status = counted(book.spec, book.status)
        spent, reserved = status.spent, status.reserved
        assert spent is not None  # counted sets them
        assert reserved is not None
        return {
            "population": population,
            "unit": book.spec.unit,
            "delta": book.spec.delta,
            "total": book.spec.epsilon,
            "spent": spent.epsilon,
            "reserved": reserved.epsilon,
            "left": status.left,
            "entries": status.entries,
        }


def _reclaim(book: Book, now: datetime) -> None:
    """Fold what runs left behind that were killed: a fold ends the account for any gate that still lives."""
    for name in list(book.status.accounts):
        holder = book.holders.get(name)
        if holder is not None and not Process(*holder).runs:
            _fold(book, name, now)


def _fold(book: Book, name: str, now: datetime) -> None:
    account = book.status.accounts[name]
    if account.closed is None:
        book.write("close", now, account=name, closed=Closed(cause="LeaseOver", at=now).to_wire())
    page = without_account(book.status, name, "sha256:" + "0" * 64)
    book.write("fold", now, account=name, folded=page.folded, releases=len(account.releases))


def _started(pid: int) -> int:
    """Clock ticks after the boot at which a process was started (proc(5), field 22)."""
    os.kill(pid, 0)
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        raise ProcessLookupError(pid)
    return int(fields[19])
