"""Named arrays and the arithmetic that every strategy shares; used by the strategies, checkpoints and model files.

Sums run in float64 and in the order given, so that equal inputs give equal bits on every machine.

AggregationError
├── NoWeightError       no update has a record
├── MismatchError       an update's names or shapes are not the model's
└── NonFiniteError      the next model holds NaN or infinity
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


class AggregationError(Exception):
    """The updates of a round do not make a model."""


class NoWeightError(AggregationError):
    """No update has a record."""


class MismatchError(AggregationError):
    """An update's names or shapes are not the model's."""


class NonFiniteError(AggregationError):
    """The next model holds NaN or infinity."""


@dataclass(frozen=True)
class Update:
    """One participant's arrays after local training, and from how many records they come."""

    participant: str
    arrays: Arrays
    num_examples: int


def check_update(current: Arrays, update: Update) -> None:
    """Raise MismatchError unless `update` has the names and shapes of `current` (nothing may broadcast)."""
    if update.arrays.keys() != current.keys():
        odd = sorted(update.arrays.keys() ^ current.keys())[0]
        raise MismatchError(f"the update of {update.participant} does not have the model's arrays: {odd}")
    for name, array in current.items():
        if update.arrays[name].shape != array.shape:
            raise MismatchError(
                f"array {name} of {update.participant} has shape {update.arrays[name].shape}, the model {array.shape}"
            )


def weights(updates: Sequence[Update], *, equal: bool) -> list[float]:
    """Weights that sum to one: by number of records, or equal. Raises NoWeightError without any record."""
    counts = [1 if equal else update.num_examples for update in updates]
    total = sum(counts)
    if total <= 0 or min(counts) < 0:
        raise NoWeightError("no update of this round has a record")
    return [count / total for count in counts]


def weighted_mean(current: Arrays, updates: Sequence[Update], *, equal: bool) -> Arrays:
    """The weighted mean of the updates, as float64 whatever the model's dtypes.

    Updates are summed in the order given. Raises NoWeightError and MismatchError.
    """
    for update in updates:
        check_update(current, update)
    shares = weights(updates, equal=equal)
    mean: Arrays = {name: np.zeros(array.shape, np.float64) for name, array in current.items()}
    for update, share in zip(updates, shares, strict=True):
        for name in current:
            mean[name] += update.arrays[name].astype(np.float64) * share
    return mean


def like(current: Arrays, values: Arrays) -> Arrays:
    """`values` (float64) in the dtypes of `current`; integers are rounded. Raises NonFiniteError."""
    result: Arrays = {}
    for name, array in current.items():
        value = values[name]
        with np.errstate(over="ignore"):  # an overflow is reported below, by name
            cast = value if is_float(array) else np.rint(value)
            cast = np.asarray(cast).astype(array.dtype)
        if not np.all(np.isfinite(value)) or (is_float(array) and not np.all(np.isfinite(cast))):
            raise NonFiniteError(f"array {name} of the next model is not finite")
        result[name] = cast
    return result


def is_float(array: NDArray[Any]) -> bool:
    """Whether the array is of a floating dtype; others (counters, flags) are averaged, never stepped."""
    return np.issubdtype(array.dtype, np.floating)


def plain(array: NDArray[Any]) -> NDArray[Any]:
    """The array as contiguous, little-endian memory of the same shape (0-d stays 0-d)."""
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def arrays_digest(arrays: Arrays) -> str:
    """`sha256:…` over names, dtypes, shapes and bytes, whatever the order of the dict."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = plain(arrays[name])
        digest.update(f"{name}\0{array.dtype.str}\0{','.join(map(str, array.shape))}\0{array.nbytes}\0".encode())
        digest.update(array.tobytes())
    return f"sha256:{digest.hexdigest()}"


def record_weighted(pairs: Sequence[tuple[float, int]]) -> float:
    """Mean of values by number of records; exact summation, so their order does not matter."""
    total = sum(count for _, count in pairs)
    return math.fsum(value * count for value, count in pairs) / total
