"""An append-only file of hash-chained JSON lines that survives a kill and a power cut. Used by `book` alone.

A line counts once its newline is on the disk (fsync): a torn last line was never acknowledged, it is ignored when the
file is read and cut off before the next line is written. Anything else that does not fit is damage.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hanse.runtime.durable import replace_file, sync_directory
from hanse.runtime.ledger import LedgerDamaged, LedgerUnavailable

Json = dict[str, Any]
START: Final = "sha256:" + "0" * 64


@dataclass
class Position:
    """How far a reader is: bytes, lines, and the last line's hash."""

    offset: int = 0
    number: int = 0
    head: str = START


class Lines:
    """One file. `second`: where the head is kept once more, so that an older copy of the file is noticed."""

    def __init__(self, path: Path, second: Path | None = None) -> None:
        self._path = path
        self._second = second
        self._lock = path.with_suffix(".lock")
        self.position = Position()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among all processes.

        Raises:
            LedgerUnavailable: the directory cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerUnavailable(f"ledger {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def read(self) -> list[Json]:
        """What was appended since the last read, by anybody. Needs the lock.

        Raises:
            LedgerDamaged: the chain is broken, or the file is older than its second copy.
            LedgerUnavailable: it cannot be read.
        """
        found = []
        for line in self._new_lines():
            found.append(self._check(line))
        self._check_second()
        return found

    def append(self, event: Json) -> Json:
        """Write one line, durably; the line as `read` would give it. Needs the lock, and a read before.

        Raises:
            LedgerUnavailable: it could not be written.
        """
        made = {"number": self.position.number + 1, "previous": self.position.head, **event}
        told = _hash(made)
        line = json.dumps({**made, "hash": told}, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        try:
            fresh = not self._path.exists()
            with self._path.open("r+b" if not fresh else "xb") as file:
                file.truncate(self.position.offset)  # a torn line of a process that was killed
                file.seek(self.position.offset)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            if fresh:
                sync_directory(self._path.parent)
        except OSError as error:
            raise LedgerUnavailable(f"ledger {self._path}: {error.strerror}") from error
        self.position = Position(self.position.offset + len(line), made["number"], told)
        self._keep_second()
        return made

    def _new_lines(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self.position.offset:
                    raise LedgerDamaged(f"ledger {self._path} has become shorter")
                file.seek(self.position.offset)
                content = file.read()
        except FileNotFoundError:
            if self.position.number:
                raise LedgerDamaged(f"ledger {self._path} is gone") from None
            return
        except OSError as error:
            raise LedgerUnavailable(f"ledger {self._path}: {error.strerror}") from error
        yield from content.split(b"\n")[:-1]

    def _check(self, line: bytes) -> Json:
        number = self.position.number + 1
        try:
            made = json.loads(line)
            told = made.pop("hash")
            whole = made["previous"] == self.position.head and made["number"] == number
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LedgerDamaged(f"ledger {self._path}: line {number} cannot be read") from error
        if not whole or _hash(made) != told:
            raise LedgerDamaged(f"ledger {self._path}: line {number} does not belong to the chain")
        self.position = Position(self.position.offset + len(line) + 1, number, told)
        found: Json = made
        return found

    def _check_second(self) -> None:
        """Only a file that has all that the second copy saw is the ledger."""
        if self._second is None:
            return
        try:
            told = json.loads(self._second.read_text())
            number, head = int(told["number"]), str(told["head"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LedgerDamaged(f"second copy {self._second} cannot be read") from error
        behind = self.position.number < number
        if behind or (self.position.number == number and self.position.head != head):
            raise LedgerDamaged(f"ledger {self._path} is older than its second copy {self._second}: restore the newest")

    def _keep_second(self) -> None:
        if self._second is None:
            return
        content = json.dumps({"number": self.position.number, "head": self.position.head}).encode()
        try:
            self._second.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_file(self._second, content)
        except OSError as error:
            raise LedgerUnavailable(f"second copy {self._second}: {error.strerror}") from error


def _hash(event: Json) -> str:
    text = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
