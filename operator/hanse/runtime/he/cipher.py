"""Encryption and decryption in worker processes (TenSEAL never releases the GIL); used by the gate."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from hanse.runtime.he.blob import Form, Header
from hanse.runtime.he.engine import Points, facts_of
from hanse.runtime.he.errors import HeError, WorkerLost
from hanse.runtime.he.framed import check_points, total_body
from hanse.runtime.he.keys import Material
from hanse.runtime.he.process import Died, Process, usable_cpus
from hanse.runtime.he.wire import Operation

if TYPE_CHECKING:
    from types import TracebackType

    from hanse.api.encryption import Scheme

#: A second process pays for its start from here on.
_LEAST_CHUNKS: Final = 16
_Request = tuple[Operation, int, int, "bytes | memoryview", int]  # operation, round, points, payload, size of the reply


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
        narrow = points.astype("<i4")
        requests: list[_Request] = []
        for first, last in self._shares(len(points)):
            part = narrow[first * self._facts.slots : last * self._facts.slots]
            size = (last - first) * self._facts.upload_chunk_bytes
            requests.append((Operation.ENCRYPT, round, len(part), part.tobytes(), size))
        header = Header(self._scheme, Form.SEEDED, 1, len(points))
        return b"".join([bytes(header), *self._ask(requests)])

    def decrypt(self, round: int, total: bytes, count: int) -> Points:
        """As `Engine.decrypt` under the round's key.

        Raises CountMismatch, CiphertextInvalid, DecryptionImplausible, KeyInvalid, WorkerLost.
        """
        _, body = total_body(total, self._facts, count)
        chunk, slots = self._facts.total_chunk_bytes, self._facts.slots
        requests: list[_Request] = []
        for first, last in self._shares(count):
            points = min(count, last * slots) - first * slots
            requests.append((Operation.DECRYPT, round, points, body[first * chunk : last * chunk], 4 * points))
        return np.frombuffer(b"".join(self._ask(requests)), "<i4").astype(np.int64)

    def close(self) -> None:
        """End the workers."""
        with self._lock:
            for process in self._processes:
                process.close()
            self._processes = []

    # --- processes ---

    def _shares(self, count: int) -> list[tuple[int, int]]:
        """First chunk and the one after the last, for each process that is worth having."""
        chunks = self._facts.chunks(count)
        if self._facts.slots == 3:  # no encryption: nothing to share
            return [(0, chunks)]
        number = max(1, min(self._most, chunks // _LEAST_CHUNKS))
        edges = [chunks * index // number for index in range(number + 1)]
        return list(pairwise(edges))

    def _ask(self, requests: list[_Request]) -> list[bytes]:
        with self._lock:
            try:
                return self._ask_all(requests)
            except Died:
                self._forget()
            try:
                return self._ask_all(requests)
            except Died as error:
                self._forget()
                raise WorkerLost("a process that encrypts died twice") from error

    def _ask_all(self, requests: list[_Request]) -> list[bytes]:
        while len(self._processes) < len(requests):
            self._processes.append(self._start())
        pairs = list(zip(self._processes, requests, strict=False))
        for process, (operation, number, points, payload, _) in pairs:
            process.send(operation, number, points, payload)
        replies: list[bytes] = []
        errors: list[HeError] = []
        for process, (*_, size) in pairs:  # read all of them, or the next call would get an old reply
            try:
                replies.append(_exactly(process.receive, size))
            except HeError as error:
                errors.append(error)
        if errors:
            raise errors[0]
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


def _exactly(receive: Callable[[int], bytearray], size: int) -> bytes:
    reply = receive(size)
    if len(reply) != size:
        raise Died
    return bytes(reply)
