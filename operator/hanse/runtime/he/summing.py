"""Adding ciphertexts that strangers sent, in one worker process without secrets; used by the server and by gates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from hanse.runtime.he.engine import facts_of
from hanse.runtime.he.errors import CiphertextInvalid, TooManyCiphertexts, WorkerLost
from hanse.runtime.he.framed import check_count, total_header
from hanse.runtime.he.process import Died, Process
from hanse.runtime.he.wire import Operation, batches

if TYPE_CHECKING:
    from types import TracebackType

    from hanse.api.encryption import Half, Scheme


class Summing:
    """One total in the making, of uploads or of one half of them. A context manager; not safe for threads.

    Keep it for all rounds (`reset`): a worker takes a quarter of a second to start. It refers to the ciphertexts that
    were added until `reset` or `close`, to add them again after a crash.
    """

    def __init__(self, scheme: Scheme, count: int, most: int = 0, half: Half | None = None) -> None:
        """A sum of ciphertexts of `count` points each, at most `most` of them (0: as many as the engine can).

        Raises CountMismatch for a model without points.
        """
        check_count(count)
        self._scheme = scheme
        self._facts = facts_of(scheme)
        self._count = count
        self._half = half
        self._most = min(most or self._facts.most_clients, self._facts.most_clients)
        self._added: list[bytes | memoryview] = []
        self._process = self._start()

    def add(self, ciphertext: bytes | memoryview) -> None:
        """Add one ciphertext; the total is as before when it is refused. Raises CiphertextInvalid, TooManyCiphertexts.

        After a crash a new worker adds what was added before (WorkerLost when it dies of that) and this one once more:
        the first may have been killed for memory that others used. Two crashes are CiphertextInvalid.
        """
        if len(self._added) >= self._most:
            raise TooManyCiphertexts(f"more than {self._most} ciphertexts")
        size = self._facts.max_ciphertext_bytes(self._count, self._half)
        if len(ciphertext) != size:
            raise CiphertextInvalid(f"{len(ciphertext)} bytes; {self._scheme} of this size has {size}")
        try:
            self._process.ask(Operation.ADD, payload=ciphertext)
        except Died:
            self._restart()
            self._add_again(ciphertext)
        self._added.append(ciphertext)

    def _add_again(self, ciphertext: bytes | memoryview) -> None:
        try:
            self._process.ask(Operation.ADD, payload=ciphertext)
        except Died as error:
            self._restart()
            raise CiphertextInvalid("two processes that parsed this ciphertext died of it") from error

    def total(self) -> bytes:
        """The canonical total of what was added. Raises TooManyCiphertexts when nothing was, WorkerLost."""
        try:
            return self._ask_total()
        except Died:
            self._restart()
        try:
            return self._ask_total()
        except Died as error:
            raise WorkerLost("the process that adds ciphertexts died twice") from error

    def _ask_total(self) -> bytes:
        parts = [bytes(total_header(self._facts, self._count, len(self._added), self._half))]
        for first, last in batches(self._facts, self._count):
            size = (last - first) * self._facts.total_chunk_size(self._half)
            parts.append(bytes(self._process.ask(Operation.PART, first, last, size=size)))
        return b"".join(parts)

    def reset(self, half: Half | None = None) -> None:
        """Forget what was added and begin a new total, of uploads or halves, in the same process. Raises WorkerLost."""
        self._added, self._half = [], half
        try:
            self._open(self._process)
        except Died:
            self._restart()

    def close(self) -> None:
        """End the worker."""
        self._added = []
        self._process.close()

    def _start(self) -> Process:
        process = Process()
        try:
            self._open(process)
        except Died as error:
            process.close()
            raise WorkerLost("the process that adds ciphertexts does not start") from error
        return process

    def _open(self, process: Process) -> None:
        what = self._scheme if self._half is None else f"{self._scheme}\0{self._half}"
        process.ask(Operation.OPEN, self._count, self._most, what.encode())

    def _restart(self) -> None:
        self._process.close()
        self._process = self._start()
        try:
            for ciphertext in self._added:
                self._process.ask(Operation.ADD, payload=ciphertext)
        except Died as error:
            raise WorkerLost("the process that adds ciphertexts died of what it had added before") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
