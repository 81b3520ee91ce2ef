"""Coefficients as planes of 32, 16 and 8 bits: all the bytes of a chunk on the wire, without compression.

Called by the kernels. A coefficient of 40 bits takes 5 bytes and one of 56 bits takes 7, in arrays that numpy reads at
memory bandwidth. Fixed sizes: nothing that a stranger sent is ever decompressed, and equal numbers are equal bytes.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_PLANES: Final = {
    40: (("low", "<u4", 0), ("high", "<u1", 32)),
    56: (("low", "<u4", 0), ("middle", "<u2", 32), ("high", "<u1", 48)),
}
SEED_BYTES: Final = 64


def chunk_type(bits: int, shape: tuple[int, ...], *, seeded: bool) -> np.dtype[np.void]:
    """The layout of one chunk: `shape` coefficients of `bits` bits, and the seed of the rest if there is one."""
    fields: list[Any] = [(name, kind, shape) for name, kind, _ in _PLANES[bits]]
    if seeded:
        fields.append(("seed", "u1", (SEED_BYTES,)))
    return np.dtype(fields)


def write(words: Words, bits: int, chunk: NDArray[np.void]) -> None:
    """Put coefficients below 2^bits, of the chunk's shape, into its planes. `chunk` is zero-dimensional."""
    for name, kind, shift in _PLANES[bits]:
        chunk[name][...] = (words >> np.uint64(shift)).astype(kind) if shift else words.astype(kind)


def read(chunk: NDArray[np.void], bits: int) -> Words:
    """The coefficients of a chunk, or of an array of chunks."""
    words: Words = chunk["low"].astype(np.uint64)
    for name, _, shift in _PLANES[bits][1:]:
        words |= chunk[name].astype(np.uint64) << np.uint64(shift)
    return words


def halves(bits: int, size: int) -> tuple[list[slice], list[slice]]:
    """Where the bytes of each of the two polynomials are in a chunk of `size` bytes that holds both."""
    coefficients = size * 8 // (2 * bits)
    found: tuple[list[slice], list[slice]] = ([], [])
    at = 0
    for _, kind, _ in _PLANES[bits]:
        for polynomial in found:
            end = at + coefficients * np.dtype(kind).itemsize
            polynomial.append(slice(at, end))
            at = end
    return found


def below(chunk: NDArray[np.void], bits: int, bounds: tuple[int, ...]) -> bool:
    """Whether all coefficients, shape (…, primes, degree), are below the bound of their prime.

    Plane by plane from the highest: few coefficients are equal to their bound there, so the lower ones hardly count.
    """
    equal: NDArray[np.bool_] | None = None
    for name, kind, shift in reversed(_PLANES[bits]):
        width = 8 * np.dtype(kind).itemsize
        bound = np.array([(each >> shift) & ((1 << width) - 1) for each in bounds], kind)[:, None]
        plane = chunk[name]
        over = plane > bound if equal is None else equal & (plane > bound)
        if over.any():
            return False
        equal = plane == bound if equal is None else equal & (plane == bound)
        if not equal.any():
            return True
    return False  # one is its bound
