"""Outgoing bytes, on disk before they are paid for: what was noised once is never noised again. Used by `release`.

One file for each release in a directory that only the gate's container has. A file that is torn or that somebody else
wrote is none. The directory may end with the pod: what is lost with it is paid and gone, and takes a new attempt.
"""

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hanse.api.privacy import Slot
from hanse.runtime.durable import replace_file

_MAGIC: Final = b"HNSOUT1\n"
_SIZE: Final = struct.Struct(">I")
_DIGEST_BYTES: Final = 32


def digest_of(payload: bytes) -> str:
    """What the ledger knows of released bytes."""
    return f"sha256:{hashlib.sha256(payload).hexdigest()}"


@dataclass(frozen=True)
class Stored:
    """One release: `question` is the digest of what was asked, `payload` are the bytes that leave."""

    slot: Slot
    question: str
    payload: bytes

    @property
    def digest(self) -> str:
        """`sha256:…` of the payload."""
        return digest_of(self.payload)


class Outbox:
    """The files. Raises OSError when the volume is full or gone: then nothing may leave."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory

    def put(self, stored: Stored) -> None:
        """Keep it; on return it survives a crash."""
        head = json.dumps({"slot": stored.slot.key, "question": stored.question}).encode()
        rest = _SIZE.pack(len(head)) + head + stored.payload
        replace_file(self._path(stored.slot), _MAGIC + hashlib.sha256(rest).digest() + rest)

    def get(self, slot: Slot) -> Stored | None:
        """What was kept, if it is whole."""
        try:
            data = self._path(slot).read_bytes()
        except FileNotFoundError:
            return None
        return _parse(data, slot)

    def drop(self, slot: Slot) -> None:
        """Forget it: it was never paid for."""
        self._path(slot).unlink(missing_ok=True)

    def trim(self, most: int, newest: Slot) -> None:
        """Forget the oldest rounds but `newest` until all files together have at most `most` bytes."""
        sizes = {slot: self._path(slot).stat().st_size for slot in self._slots()}
        for slot in sorted(sizes, key=lambda s: (s.round, s.attempt)):
            if sum(sizes.values()) <= most:
                return
            if slot != newest:
                self.drop(slot)
                del sizes[slot]

    def _slots(self) -> Iterator[Slot]:
        for path in self._directory.iterdir():
            try:
                yield Slot.parse(path.name)
            except ValueError:
                continue

    def _path(self, slot: Slot) -> Path:
        return self._directory / slot.key


def _parse(data: bytes, slot: Slot) -> Stored | None:
    start = len(_MAGIC) + _DIGEST_BYTES
    rest = data[start:]
    if not data.startswith(_MAGIC) or hashlib.sha256(rest).digest() != data[len(_MAGIC) : start]:
        return None
    end = _SIZE.size + _SIZE.unpack_from(rest)[0]
    head = json.loads(rest[_SIZE.size : end])
    if head["slot"] != slot.key:
        return None
    return Stored(slot, head["question"], rest[end:])
