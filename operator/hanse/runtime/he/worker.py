"""A worker process: encrypts and decrypts for a gate, or adds ciphertexts without a key. Started by `process.py`.

Reads requests from standard input and answers on standard output until its input ends. A key comes through that pipe,
never as an argument or in the environment. What is not one of `wire.ERRORS` ends the process: a sum in which an
addition broke off half-way must not be used.
"""

import os
import resource
import signal
import sys
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from hanse.runtime.he.engine import Facts, engine_of
from hanse.runtime.he.wire import DONE, ERRORS, MOST_ERROR_BYTES, REPLY, REQUEST, Inbox, Operation, write_all

if TYPE_CHECKING:
    from hanse.api.encryption import Half, Scheme
    from hanse.runtime.he.framed import FramedEngine, Kernel, Totalling

#: What the address space of an adding worker may grow by, beside the sum itself.
_HEADROOM: Final = 256 << 20


class Worker:
    """What a process holds between requests."""

    def __init__(self) -> None:
        self._engine: FramedEngine | None = None
        self._key = b""
        self._sum: Totalling | None = None

    def answer(self, operation: Operation, first: int, second: int, payload: memoryview) -> bytes:
        """The reply to one request. Raises what `wire.ERRORS` names."""
        match operation:
            case Operation.HOLD:
                scheme, _, key = bytes(payload).partition(b"\0")
                self._engine, self._key = _engine(scheme), key
            case Operation.ENCRYPT:
                kernel, key = self._round(first)
                return kernel.encrypt(key, np.frombuffer(payload, "<i4").astype(np.int64))
            case Operation.DECRYPT:
                kernel, key = self._round(first)
                return kernel.decrypt(key, payload, second).astype("<i4").tobytes()
            case Operation.OPEN:
                self._open(bytes(payload), first, second)
            case Operation.ADD if self._sum is not None:
                self._sum.add(payload)
            case Operation.PART if self._sum is not None:
                return self._sum.part(first, second)
            case _:
                raise RuntimeError(f"{operation.name} before anything was opened")
        return b""

    def _round(self, number: int) -> "tuple[Kernel, bytes]":
        if self._engine is None:
            raise RuntimeError("no key is held")
        return self._engine.kernel, self._engine.round_key(self._key, number)

    def _open(self, what: bytes, count: int, most: int) -> None:
        scheme, _, half = what.partition(b"\0")
        if self._engine is None:
            self._engine = _engine(scheme)
            limit_memory(self._engine.facts, count)
        self._sum = self._engine.totalling(count, most, cast("Half", half.decode()) if half else None)


def _engine(scheme: bytes) -> "FramedEngine":
    return engine_of(cast("Scheme", scheme.decode()))


def limit_memory(facts: Facts, count: int) -> None:
    """Let the address space grow by what a sum of `count` points takes, and not by more."""
    with open("/proc/self/statm") as statm:  # noqa: PTH123 -- pathlib would be one more import in every worker
        now = int(statm.read().split()[0]) * resource.getpagesize()
    most = now + 5 * facts.max_total_bytes(count) + 4 * facts.max_ciphertext_bytes(count) + _HEADROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main() -> None:
    """Serve until standard input ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold the key
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the parent, which ends this input
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints must not become a reply
    requests = os.fdopen(0, "rb", buffering=0)
    worker, inbox = Worker(), Inbox()
    while True:
        try:
            operation, first, second, size = REQUEST.unpack(inbox.read(requests, REQUEST.size))
            payload = inbox.read(requests, size)
        except EOFError:
            return
        status, reply = DONE, b""
        try:
            reply = worker.answer(Operation(operation), first, second, payload)
        except ERRORS as error:
            status, reply = 1 + ERRORS.index(type(error)), str(error).encode()[:MOST_ERROR_BYTES]
        write_all(replies.fileno(), REPLY.pack(status, len(reply)), reply)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.exit(0)
