"""Signed integers in lanes of 8, 15 or 32 bits, without gaps; called by the codec.

A value is taken modulo 2^bits (two's complement). Nothing saturates: a noised value that is cut off at the end of its
lane would show that it was large. The grid is chosen so that a wrap is improbable (`grid.WRAP_PROBABILITY`).
"""

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.codec.errors import MessageError

Bytes = NDArray[np.uint8]


def lane_bytes(count: int, bits: int) -> int:
    """Bytes that `count` lanes take."""
    return (count * bits + 7) // 8


def capacity(bits: int) -> int:
    """The largest magnitude that a lane holds with either sign."""
    return (1 << (bits - 1)) - 1


def pack(values: NDArray[np.int64], bits: int) -> Bytes:
    """The values modulo 2^bits, as uint8 of shape (lane_bytes(len(values), bits),)."""
    lanes = values & ((1 << bits) - 1)
    if bits != 15:
        return lanes.astype(f"<u{bits // 8}").reshape(-1).view(np.uint8)
    wide = np.unpackbits(lanes.astype(">u2").view(np.uint8)).reshape(-1, 16)
    return np.packbits(wide[:, 1:])


def unpack(packed: Bytes, count: int, bits: int) -> NDArray[np.int64]:
    """The values of `pack`, in -2^(bits-1) .. 2^(bits-1) - 1. Raises MessageError for another length."""
    if packed.shape != (lane_bytes(count, bits),):
        raise MessageError(f"{packed.size} bytes are not {count} lanes of {bits} bits")
    if bits != 15:
        return np.ascontiguousarray(packed).view(f"<i{bits // 8}").astype(np.int64)
    wide = np.zeros((count, 16), np.uint8)
    wide[:, 1:] = np.unpackbits(packed, count=15 * count).reshape(count, 15)
    lanes = np.packbits(wide).view(">u2").astype(np.int64)
    return (lanes ^ (1 << 14)) - (1 << 14)
