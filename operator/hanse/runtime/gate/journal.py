"""What the gate must not forget when it is killed: the message in flight, Context.state, its node id, the job's end.

Files in the pod's shared directory; used by hanse.runtime.gate.session. The trainer can write there too, so nothing of
it is ever sent on: the note only names the message that an error reply belongs to, the state goes back to the trainer.
"""

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hanse.runtime.gate.frames import Buffer

#: An outcome of a job that is over, as the aggregator words it.
OUTCOME_LIMIT: Final = 64
#: Of an unsigned 64-bit number.
NODE_DIGITS: Final = 20


class Journal:
    """The files."""

    def __init__(self, directory: Path) -> None:
        self._in_flight = directory / "in-flight"
        self._state = directory / "context-state"
        self._ended = directory / "ended"
        self._node = directory / "node-id"

    def in_flight(self) -> bytes | None:
        """Origin of the message that was being worked on when the last gate died."""
        return _read(self._in_flight)

    def note(self, origin: bytes) -> None:
        """Remember a message before it is worked on."""
        _write(self._in_flight, [origin])

    def clear(self) -> None:
        """The message is answered."""
        self._in_flight.unlink(missing_ok=True)

    def node(self) -> int | None:
        """Node id of the last gate with this key."""
        data = _read(self._node) or b""
        return int(data) if data.isdigit() and len(data) <= NODE_DIGITS else None

    def keep_node(self, node_id: int) -> None:
        """Remember the node id: a gate that was killed cannot come online again without it."""
        _write(self._node, [str(node_id).encode()])

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
    # O_NOFOLLOW: the directory is shared with the trainer, a link there must not lead the gate to its own files.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        return file.read()


def _write(path: Path, pieces: Sequence[Buffer]) -> None:
    """Whole or not at all: a process that is killed leaves no torn file. No fsync, the directory lives in memory."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
        file.writelines(pieces)
    temporary.replace(path)
