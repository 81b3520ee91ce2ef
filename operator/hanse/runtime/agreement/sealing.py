"""The gates' state under a key that the server does not have: what the server keeps as its checkpoint.

Used by gates alone. AES-256-GCM in chunks (STREAM: Hoang, Reyhanitabar, Rogaway, Vizár 2015: position and "last" stand
in the nonce, so chunks cannot be moved, dropped or cut off) under a key that is fresh for each sealing: HKDF-SHA256
(RFC 5869) with a random salt. Agreement, round and digests are authenticated with each chunk.
"""

import os
import struct
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hanse.api.replies import ReplyCode
from hanse.runtime.agreement.statements import signed_bytes
from hanse.runtime.refused import Refused

Bytes = bytes | bytearray | memoryview

#: First bytes of sealed state.
MAGIC: Final = b"HNSSEAL1"
SALT_BYTES: Final = 32
CHUNK_BYTES: Final = 16 << 20
TAG_BYTES: Final = 16
KEY_BYTES: Final = 32


def state_key(key: bytes) -> bytes:
    """The secret (32 bytes) that state is sealed under; `key` is the job's key material."""
    return _derive(key, None, b"hanse.agreement.v1.state-key")


def sealed_bytes(size: int) -> int:
    """Length of what `seal` makes of so many bytes."""
    return len(MAGIC) + SALT_BYTES + size + TAG_BYTES * _chunks(size)


def seal(key: bytes, agreement: str, round: int, digests: Sequence[str], data: Bytes) -> bytes:
    """State of a round for the server to keep. `key` is `state_key`'s; `digests` (model, state) are bound to it."""
    salt = os.urandom(SALT_BYTES)
    cipher, about = AESGCM(_derive(key, salt, b"hanse.agreement.v1.seal")), _about(agreement, round, digests)
    view, count = memoryview(data).cast("B"), _chunks(len(data))
    pieces = [MAGIC, salt]
    for index in range(count):
        piece = view[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
        pieces.append(cipher.encrypt(_nonce(index, count), piece, about))
    return b"".join(pieces)


def unseal(key: bytes, agreement: str, round: int, digests: Sequence[str], sealed: Bytes) -> bytes:
    """The state again. Raises Refused(STATE_REFUSED) for bytes that were sealed otherwise, elsewhere or not whole."""
    view = memoryview(sealed).cast("B")
    start = len(MAGIC) + SALT_BYTES
    if len(view) < start + TAG_BYTES or bytes(view[: len(MAGIC)]) != MAGIC:
        raise Refused(ReplyCode.STATE_REFUSED, f"sealed state of round {round} is none")
    cipher = AESGCM(_derive(key, bytes(view[len(MAGIC) : start]), b"hanse.agreement.v1.seal"))
    about, step = _about(agreement, round, digests), CHUNK_BYTES + TAG_BYTES
    count = -(-(len(view) - start) // step)
    pieces = []
    try:
        for index in range(count):
            piece = view[start + index * step : start + (index + 1) * step]
            pieces.append(cipher.decrypt(_nonce(index, count), piece, about))
    except (InvalidTag, ValueError) as error:
        why = f"sealed state of round {round} is not of this job, key, round and model, or was changed"
        raise Refused(ReplyCode.STATE_REFUSED, why) from error
    return b"".join(pieces)


def _derive(key: bytes, salt: bytes | None, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), KEY_BYTES, salt, info).derive(key)


def _about(agreement: str, round: int, digests: Sequence[str]) -> bytes:
    return signed_bytes("seal", {"agreement": agreement, "round": round, "digests": list(digests)})


def _chunks(size: int) -> int:
    """Empty data is one empty chunk."""
    return max(1, -(-size // CHUNK_BYTES))


def _nonce(index: int, count: int) -> bytes:
    """12 bytes: no two chunks of one sealing have the same."""
    return struct.pack(">7xI?", index, index == count - 1)
