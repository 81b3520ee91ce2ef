"""How the range of an encrypted job without differential privacy follows its updates. Called by `model`.

The grid of a round must be known before anyone has an update, so it follows the round before. Only the decrypted mean
may move it: that is what all gates have, and it tells nothing new. The largest entry of the mean then stays between an
eighth and half of the range, which leaves a participant two to eight times that before its update saturates.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

#: A range never leaves [first / 2^20, first * 2^20]; powers of two, so that every machine has the same bits.
FURTHEST: Final = 2.0**20


def next_range(current: float, mean: NDArray[np.float64], first: float) -> float:
    """The range of the next round: doubled, halved or as it is.

    `mean` is the decrypted mean in the update's unit, `first` the range of round 1. A mean of zero tells no scale.
    """
    largest = float(np.max(np.abs(mean)))
    if largest > current / 2:
        return min(current * 2, first * FURTHEST)
    if 0 < largest < current / 8:
        return max(current / 2, first / FURTHEST)
    return current
