"""What the gate must not forget when it is killed: the messages it has taken, Context.state, the job's end.

Files in a directory that only the gate's container has; used by hanse.runtime.gate.session.
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hanse.runtime.durable import replacing
from hanse.runtime.flower.wire_taken import NOTHING, UNKNOWN
from hanse.runtime.gate.frames import Buffer

#: An outcome of a job that is over, as the aggregator words it.
OUTCOME_LIMIT: Final = 64
#: A message id is 64 hexadecimal digits.
TAKEN_LIMIT: Final = 128


class Journal:
    """The files."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._taken = directory / "taken"
        self._state = directory / "context-state"
        self._ended = directory / "ended"

    def take(self, message_id: str) -> None:
        """Remember a message before it is worked on."""
        _write(self._taken, [message_id.encode()])

    def taken(self) -> str:
        """What to tell the server with a pull (`wire_taken`): the message that was taken last, answered or not."""
        data = _read(self._taken)
        word = "" if data is None else data[:TAKEN_LIMIT].decode(errors="replace")
        return word if word.isalnum() else UNKNOWN

    def join(self) -> None:
        """The server has answered a pull: from now on this journal knows what was taken."""
        if self.taken() == UNKNOWN:
            _write(self._taken, [NOTHING.encode()])

    def state(self) -> list[bytes]:
        """The app's Context.state, as the blobs that the trainer returned; none at first or when the file is torn."""
        data = _read(self._state)
        return [] if data is None else _split(data)

    def keep_state(self, blobs: Sequence[Buffer]) -> None:
        """Remember the app's Context.state for the next message."""
        sizes = struct.pack(f">I{len(blobs)}Q", len(blobs), *(len(blob) for blob in blobs))
        _write(self._state, [sizes, *blobs])

    def ended(self) -> str | None:
        """Outcome of the job, once the end-of-job message has come."""
        data = _read(self._ended)
        return None if data is None else data[:OUTCOME_LIMIT].decode(errors="replace")

    def end(self, outcome: str) -> None:
        """The end-of-job message has come."""
        _write(self._ended, [outcome.encode()])


def _split(data: bytes) -> list[bytes]:
    try:
        (count,) = struct.unpack_from(">I", data)
        sizes = struct.unpack_from(f">{count}Q", data, 4)
    except struct.error:
        return []
    offset, blobs = 4 + 8 * count, []
    for size in sizes:
        blobs.append(data[offset : offset + size])
        offset += size
    return blobs if offset == len(data) else []


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write(path: Path, pieces: Sequence[Buffer]) -> None:
    with replacing(path) as file:
        file.writelines(pieces)
