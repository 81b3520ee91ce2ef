"""Randomness that both sides know: the dither of the rounding and the mask of random-k; called by the codec.

It is ChaCha20 (RFC 8439) under the SHA-256 of plan hash, round and attempt, so no server chooses it and it depends on
no data. It hides nothing; privacy holds for every value that it takes.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray

_INDEX_BITS: Final = 30
MAX_PARAMETERS: Final = 1 << _INDEX_BITS


@dataclass(frozen=True)
class PublicSeed:
    """What the dither and the mask of one release are derived from."""

    plan_hash: str
    round: int
    attempt: int

    def dither(self, count: int) -> NDArray[np.float64]:
        """`count` values uniform on a grid of 2^32 points, symmetric in (-1/2, 1/2); exact in float64."""
        words = np.frombuffer(self._bytes("dither", 4 * count), dtype="<u4")
        return (words.astype(np.float64) + 0.5) * 2.0**-32 - 0.5

    def mask(self, keep: int, size: int) -> NDArray[np.intp]:
        """`keep` of `size` indices without replacement, ascending."""
        words = np.frombuffer(self._bytes("mask", 8 * size), dtype="<u8")
        # The index in the low bits makes the keys distinct: the smallest ones are the same set with every numpy.
        keys = (words & ~np.uint64(MAX_PARAMETERS - 1)) | np.arange(size, dtype=np.uint64)
        return np.flatnonzero(keys <= np.partition(keys, keep - 1)[keep - 1])

    def _bytes(self, purpose: Literal["dither", "mask"], count: int) -> bytes:
        text = json.dumps(["hanse.dev/codec/v1", purpose, self.plan_hash, self.round, self.attempt])
        key = hashlib.sha256(text.encode()).digest()
        return Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(count))
