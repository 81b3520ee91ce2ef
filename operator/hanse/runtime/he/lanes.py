"""Three signed points of 19 bits in one integer; called by the kernels of BFV and None.

A word is v0 + v1 2^19 + v2 2^38 with |v| < 2^18: balanced digits, so words add like their points do, without carries
between lanes as long as every sum stays within +-(2^18 - 1). A sum that does not moves its own lane by 2^19 and its
neighbour by 1: who quantises must leave room (`LANE_LIMIT` over the number of summands, noise included).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.he.engine import LANE_BITS, LANE_LIMIT, Points
from hanse.runtime.he.errors import DecryptionImplausible

LANES: Final = 3
#: Largest magnitude of a word whose lanes all hold sums of points; below 2^57, a quarter of BFV's plain modulus.
WORD_LIMIT: Final = LANE_LIMIT * (1 + (1 << LANE_BITS) + (1 << 2 * LANE_BITS))
_HALF: Final = 1 << (LANE_BITS - 1)
_MASK: Final = (1 << LANE_BITS) - 1


def pack(points: Points, words: int) -> NDArray[np.int64]:
    """Points of shape (k,), k <= 3 * words, filled up with zeros, as words of shape (words,).

    Lane j of word i is point j * words + i, so that the lanes are contiguous.
    """
    padded = points
    if len(points) != LANES * words:
        padded = np.zeros(LANES * words, np.int64)
        padded[: len(points)] = points
    low, middle, high = padded.reshape(LANES, words)
    packed: NDArray[np.int64] = (high << LANE_BITS) + middle
    packed <<= LANE_BITS
    packed += low
    return packed


def unpack(words: NDArray[np.int64], count: int) -> Points:
    """The points of `pack`, shape (count,). Raises DecryptionImplausible for words that hold no sums of points."""
    if words.size and int(np.abs(words).max()) > WORD_LIMIT:
        raise DecryptionImplausible("a decrypted word is larger than three lanes hold: another key, or not a sum")
    points = np.empty((LANES, len(words)), np.int64)
    rest = words
    for lane in range(LANES - 1):
        points[lane] = ((rest + _HALF) & _MASK) - _HALF
        rest = (rest - points[lane]) >> LANE_BITS
    points[LANES - 1] = rest
    flat = points.reshape(-1)
    if flat[count:].any():
        raise DecryptionImplausible("a decrypted total has points behind its end: another key, or not a sum")
    return flat[:count]
