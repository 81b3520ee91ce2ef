"""Poisson sampling of unit Record: each record by a coin of its own. Used by the built-in apps."""

import os
from collections.abc import Callable
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

_BITS: Final = 64


def poisson_sample(count: int, rate: str, entropy: Callable[[int], bytes] = os.urandom) -> NDArray[np.bool_]:
    """Which of `count` records are drawn, [count]: each with probability `rate` (a decimal), rounded down to 2^-64.

    The coins come from the operating system: a seed that anybody else knows would undo what sampling adds to privacy.
    """
    threshold = int(Decimal(rate) * 2**_BITS)
    if threshold >= 2**_BITS:
        return np.ones(count, np.bool_)
    drawn = np.frombuffer(entropy(count * _BITS // 8), "<u8")
    return np.asarray(drawn < np.uint64(threshold))
