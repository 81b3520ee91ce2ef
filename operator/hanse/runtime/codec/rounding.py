"""From real numbers to the grid: projection and rounding; called by the codec. Derivations: `grid`.

All arithmetic is float64. Norms of vectors with entries near the largest float neither overflow nor lose their
direction. NaN and infinity are refused by the codec before they come here.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.codec.grid import Grid

Vector = NDArray[np.float64]

# numpy sums pairwise: for up to 2^30 terms its relative error is below 2^-47, and every use below has this much room.
_ROOM: Final = 1 - 1e-9
_SHRINK: Final = 0.98
_TRIES: Final = 8


def norm(vector: Vector) -> float:
    """L2 norm, without overflow or underflow of the squares."""
    largest = float(np.max(np.abs(vector), initial=0.0))
    if largest == 0:
        return 0.0
    return largest * float(np.sqrt(np.sum(np.square(vector / largest))))


def factor(vector: Vector, radius: float) -> float:
    """The number that `project` multiplies with: one inside of the ball."""
    largest = float(np.max(np.abs(vector), initial=0.0))
    if largest == 0:
        return 1.0
    relative = float(np.sqrt(np.sum(np.square(vector / largest))))
    if largest <= radius / relative * _ROOM:
        return 1.0
    # Two divisions: the vector's norm itself may be beyond the largest float.
    return radius / largest / relative * _ROOM


def project(vector: Vector, radius: float) -> Vector:
    """The nearest point of the L2 ball of `radius` around zero; non-expansive."""
    return vector * factor(vector, radius)


def round_silo(vector: Vector, dither: Vector, grid: Grid) -> NDArray[np.int64]:
    """Grid points q of `vector` (in steps), projected so that |q - dither| <= grid.norm always. Unit Silo."""
    limit = (grid.norm * _ROOM) ** 2
    if float(np.sum(np.square(dither))) > limit:
        # Depends on the public dither alone; its chance is that of ten standard deviations.
        return np.zeros(len(vector), np.int64)
    values = project(vector, grid.radius)
    for _ in range(_TRIES):
        rounded = np.rint(values + dither)
        if float(np.sum(np.square(rounded - dither))) <= limit:
            return rounded.astype(np.int64)
        values = values * _SHRINK
    return np.zeros(len(vector), np.int64)


def round_record(vector: Vector, dither: Vector, grid: Grid) -> NDArray[np.int64]:
    """Grid points of a sum of clipped gradients (in steps): two projections, then rounding. Unit Record."""
    values = np.clip(project(vector, grid.ball), -grid.bound, grid.bound)
    return np.rint(values + dither).astype(np.int64)
