"""Frames between a process and its workers, over pipes; called by `process.py` and `worker.py`.

A request is an operation, two numbers and bytes; a reply is a status and bytes. Nothing is pickled: a worker has parsed
what strangers sent, so its replies are bytes of a size that the asking side knows.
"""

import os
import struct
from enum import IntEnum
from typing import Final, Protocol

from hanse.runtime.he.engine import Facts
from hanse.runtime.he.errors import CiphertextInvalid, DecryptionImplausible, HeError, KeyInvalid, TooManyCiphertexts

REQUEST: Final = struct.Struct("<BQQQ")
REPLY: Final = struct.Struct("<BQ")
DONE: Final = 0
#: Errors that a worker may name; its status is the position plus one.
ERRORS: Final[tuple[type[HeError], ...]] = (
    KeyInvalid,
    CiphertextInvalid,
    DecryptionImplausible,
    TooManyCiphertexts,
)
MOST_ERROR_BYTES: Final = 1000
BATCH_BYTES: Final = 1 << 20


class Operation(IntEnum):
    """What a worker can be asked; the numbers are in brackets."""

    HOLD = 1  # a scheme and a job's key
    ENCRYPT = 2  # points as int32 [round] -> chunks
    DECRYPT = 3  # chunks [round, points] -> points as int32
    OPEN = 4  # a scheme, or a scheme and a half [points, most]: begin an empty sum
    ADD = 5  # an upload, or half of one
    PART = 6  # [first chunk, the one after the last] -> chunks of the total


class Stream(Protocol):
    """An unbuffered binary file."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...


class Inbox:
    """Where what is read is kept until the next is: large messages would otherwise be paid for page by page."""

    def __init__(self) -> None:
        self._buffer = bytearray(1 << 16)

    def read(self, stream: Stream, size: int) -> memoryview:
        """`size` bytes, valid until the next call. Raises EOFError when there are fewer."""
        if size > len(self._buffer):
            self._buffer = bytearray(size)
        view = memoryview(self._buffer)[:size]
        rest = view
        while len(rest):
            got = stream.readinto(rest)
            if not got:
                raise EOFError
            rest = rest[got:]
        return view


def write_all(descriptor: int, *parts: bytes | memoryview) -> None:
    """Write all of the parts. Raises BrokenPipeError."""
    for part in parts:
        view = memoryview(part)
        while len(view):
            view = view[os.write(descriptor, view) :]


def batches(facts: Facts, count: int) -> list[tuple[int, int]]:
    """First chunk and the one after the last of each message: some that stay in a cache, whatever the model's size."""
    chunks = facts.chunks(count)
    step = max(1, BATCH_BYTES // facts.total_chunk_bytes)
    return [(first, min(first + step, chunks)) for first in range(0, chunks, step)]
