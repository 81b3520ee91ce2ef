"""Encryption and decryption in worker processes (TenSEAL never releases the GIL); used by the gate."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from hanse.runtime.he.blob import Form, Header
from hanse.runtime.he.engine import Points, facts_of
from hanse.runtime.he.errors import HeError, WorkerLost
from hanse.runtime.he.framed import check_points, total_body
from hanse.runtime.he.keys import Material
from hanse.runtime.he.process import Died, Process, usable_cpus
from hanse.runtime.he.wire import Operation, batches

if TYPE_CHECKING:
    from types import TracebackType

    from hanse.api.encryption import Scheme

#: A second process pays for its start from here on.
_LEAST_CHUNKS: Final = 16


@dataclass(frozen=True)
class _Request:
    """What one message asks: of `points` points, for a reply of `size` bytes."""

    operation: Operation
    round: int
    points: int
    payload: bytes | memoryview
    size: int


class Cipher:
    """A job's key in worker processes that stay warm between rounds. A context manager; safe for threads."""

    def __init__(self, scheme: Scheme, key: bytes, processes: int | None = None) -> None:
        """Workers start with the first call; `processes` defaults to the CPUs of this process.

        Raises KeyInvalid.
        """
        Material.parse(key, scheme, of_round=False)
        self._scheme = scheme
        self._facts = facts_of(scheme)
        self._key = key
        self._most = processes or usable_cpus()
        self._processes: list[Process] = []
        self._lock = Lock()

    def encrypt(self, round: int, points: Points) -> bytes:
        """As `Engine.encrypt` under the round's key. Raises CountMismatch, PointOutOfRange, KeyInvalid, WorkerLost."""
        check_points(points, self._facts)
        facts = self._facts

        def requests() -> Iterator[_Request]:
            for first, last in batches(facts, len(points)):
                part = points[first * facts.slots : last * facts.slots].astype("<i4")
                size = (last - first) * facts.upload_chunk_bytes
                yield _Request(Operation.ENCRYPT, round, len(part), part.tobytes(), size)

        header = Header(self._scheme, Form.SEEDED, 1, len(points))
        return b"".join([bytes(header), *self._ask(requests, len(points))])

    def decrypt(self, round: int, total: bytes | memoryview, count: int) -> Points:
        """As `Engine.decrypt` under the round's key.

        Raises CountMismatch, CiphertextInvalid, DecryptionImplausible, KeyInvalid, WorkerLost.
        """
        facts = self._facts
        _, body = total_body(total, facts, count)
        chunk, slots = facts.total_chunk_bytes, facts.slots

        def requests() -> Iterator[_Request]:
            for first, last in batches(facts, count):
                points = min(count, last * slots) - first * slots
                yield _Request(Operation.DECRYPT, round, points, body[first * chunk : last * chunk], 4 * points)

        decrypted = np.empty(count, np.int64)
        at = 0
        for part in self._ask(requests, count):
            points = np.frombuffer(part, "<i4")
            decrypted[at : at + len(points)] = points
            at += len(points)
        return decrypted

    def close(self) -> None:
        """End the workers."""
        with self._lock:
            for process in self._processes:
                process.close()
            self._processes = []

    # --- processes ---

    def _ask(self, requests: Callable[[], Iterator[_Request]], count: int) -> list[bytes]:
        """The replies in order; once more from the beginning when a process is lost."""
        chunks = self._facts.chunks(count)
        number = 1 if self._scheme == "None" else max(1, min(self._most, chunks // _LEAST_CHUNKS))
        with self._lock:
            try:
                return self._ask_all(requests(), number)
            except Died:
                self._forget()
            try:
                return self._ask_all(requests(), number)
            except Died as error:
                self._forget()
                raise WorkerLost("a process that encrypts died twice") from error

    def _ask_all(self, requests: Iterator[_Request], number: int) -> list[bytes]:
        while len(self._processes) < number:
            self._processes.append(self._start())
        waiting: deque[tuple[Process, _Request]] = deque()
        for process, request in zip(self._processes[:number], requests, strict=False):
            waiting.append((process, _send(process, request)))
        replies: list[bytes] = []
        failure: HeError | None = None
        while waiting:  # to the end, or the next call would get an old reply
            process, request = waiting.popleft()
            try:
                replies.append(bytes(process.receive(request.size)))
            except HeError as error:
                failure = failure or error
            if failure is None and (following := next(requests, None)) is not None:
                waiting.append((process, _send(process, following)))
        if failure is not None:
            raise failure
        return replies

    def _start(self) -> Process:
        process = Process()
        try:
            process.ask(Operation.HOLD, payload=self._scheme.encode() + b"\0" + self._key)
        except Died:
            process.close()
            raise
        return process

    def _forget(self) -> None:
        for process in self._processes:
            process.close()
        self._processes = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _send(process: Process, request: _Request) -> _Request:
    process.send(request.operation, request.round, request.points, request.payload)
    return request
