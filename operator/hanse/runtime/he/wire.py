"""Frames between a process and its workers, over pipes; called by `process.py` and `worker.py`.

A request is an operation, two numbers and bytes; a reply is a status and bytes. Nothing is pickled: a worker has parsed
what strangers sent, so its replies are bytes of a size that the asking side knows.
"""

import struct
from enum import IntEnum
from typing import Final, Protocol

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


class Operation(IntEnum):
    """What a worker can be asked; the numbers are in brackets."""

    HOLD = 1  # a scheme and a job's key
    ENCRYPT = 2  # points as int32 [round] -> chunks
    DECRYPT = 3  # chunks [round, points] -> points as int32
    OPEN = 4  # a scheme [points, most]: begin an empty sum
    ADD = 5  # an upload
    TOTAL = 6  # -> the total


class Stream(Protocol):
    """An unbuffered binary file."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...


def read_exactly(stream: Stream, size: int) -> bytearray:
    """`size` bytes. Raises EOFError when there are fewer."""
    content = bytearray(size)
    view = memoryview(content)
    while len(view):
        got = stream.readinto(view)
        if not got:
            raise EOFError
        view = view[got:]
    return content
