"""A population's ledger in a directory: the state that its lines amount to. Used by `file` (gates) and `admin`.

The state is the same as a PrivacyBudget's on a cluster, so both are weighed by the same arithmetic (`hanse.dp.book`);
replaying needs none of it, because a fold writes down what it came to.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from hanse.api.budget import Account, Closed, DatasetSeen, PrivacyBudgetSpec, PrivacyBudgetStatus, Release
from hanse.runtime.ledger import LedgerDamaged
from hanse.runtime.ledger.lines import Json, Lines

FILE: Final = "ledger.jsonl"


def utc_now() -> datetime:
    """Now."""
    return datetime.now(UTC)


class Book:
    """One population. `locked` reads what others wrote; `write` appends and applies."""

    def __init__(self, directory: Path, population: str, second: Path | None = None) -> None:
        self.directory = directory
        self.population = population
        self.spec: PrivacyBudgetSpec | None = None
        self.status = PrivacyBudgetStatus()
        #: Process that reserved an account: (pid, start time), when it said so.
        self.holders: dict[str, tuple[int, int]] = {}
        self._lines = Lines(directory / population / FILE, second / f"{population}.json" if second else None)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone, and up to date.

        Raises:
            LedgerError: it cannot be read, or not be trusted.
        """
        with self._lines.locked():
            for event in self._lines.read():
                self._apply(event)
            yield

    def write(self, event: str, now: datetime, **payload: Any) -> None:
        """Append an event, durably, then apply it. Within `locked` only."""
        self._apply(self._lines.append({"event": event, "at": now.isoformat(), **payload}))

    def _apply(self, line: Json) -> None:
        try:
            _EVENTS[line["event"]](self, line)
        except (KeyError, ValidationError) as error:
            number = self._lines.position.number
            raise LedgerDamaged(f"ledger of {self.population}: line {number} or before: {error!r}"[:200]) from error

    def account(self, name: str) -> Account | None:
        """An open (or closed, not yet folded) account."""
        return self.status.accounts.get(name)

    def change(self, **update: Any) -> None:
        """Replace fields of the state."""
        self.status = self.status.model_copy(update=update)

    def put(self, name: str, account: Account) -> None:
        """Replace one account."""
        self.change(accounts={**self.status.accounts, name: account})


def _budget(book: Book, line: Json) -> None:
    book.spec = PrivacyBudgetSpec.model_validate(line["spec"])


def _reserve(book: Book, line: Json) -> None:
    book.put(line["account"], Account.model_validate(line["value"]))
    if "holder" in line:
        book.holders[line["account"]] = (int(line["holder"][0]), int(line["holder"][1]))


def _open(book: Book, line: Json) -> None:
    account = book.status.accounts[line["account"]]
    book.put(line["account"], account.model_copy(update={"epoch": line["epoch"]}))
    if digest := line.get("digest"):
        seen = DatasetSeen.model_validate({"dataset": line["dataset"], "at": line["at"]})
        book.change(datasets={digest: seen, **book.status.datasets})


def _charge(book: Book, line: Json) -> None:
    account = book.status.accounts[line["account"]]
    entry = Release.model_validate({"digest": line["digest"], "at": line["at"]})
    releases = {**account.releases, line["slot"]: entry}
    book.put(line["account"], account.model_copy(update={"releases": releases}))
    book.change(entries=book.status.entries + 1)


def _close(book: Book, line: Json) -> None:
    account = book.status.accounts[line["account"]]
    closed = Closed.model_validate(line["closed"])
    book.put(line["account"], account.model_copy(update={"closed": closed}))


def _fold(book: Book, line: Json) -> None:
    accounts = {name: kept for name, kept in book.status.accounts.items() if name != line["account"]}
    book.holders.pop(line["account"], None)
    book.change(accounts=accounts, folded=line["folded"], pages=book.status.pages + 1, chain_head=line["previous"])


_EVENTS: Final[dict[str, Callable[[Book, Json], None]]] = {
    "budget": _budget,
    "reserve": _reserve,
    "open": _open,
    "charge": _charge,
    "close": _close,
    "fold": _fold,
}
