"""A model as one vector: which arrays are shared, in which order; the same at the gate and at the aggregator.

Shared are the floating arrays, in the order of their names (so that no one's dict order matters), without those that
the job keeps personal and without BatchNorm's buffers, which are means over records and would need noise of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.codec.errors import LayoutError

Vector = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]

_BATCH_NORM_BUFFERS: Final = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class Entry:
    """One shared array: its place in the vector is `start` to `start + size`."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    size: int


@dataclass(frozen=True)
class Layout:
    """The shared arrays of a model, in the order of the vector."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, model: Arrays, personal: Sequence[str] = ()) -> Self:
        """The layout of a model; arrays whose name matches a glob of `personal` stay local.

        Raises LayoutError when nothing is shared.
        """
        entries: list[Entry] = []
        start = 0
        for name in sorted(model):
            array = model[name]
            if not is_shared(name, array, personal):
                continue
            entries.append(Entry(name, array.shape, array.dtype, start, array.size))
            start += array.size
        if start == 0:
            raise LayoutError("the model has no floating array that is shared")
        return cls(tuple(entries))

    @property
    def size(self) -> int:
        """Parameters in the vector."""
        return self.entries[-1].start + self.entries[-1].size

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the shared arrays."""
        return tuple(entry.name for entry in self.entries)

    @property
    def precision(self) -> float:
        """The largest relative step between neighbouring numbers of the arrays' dtypes."""
        return max(float(np.finfo(entry.dtype).eps) for entry in self.entries)

    def flatten(self, arrays: Arrays) -> Vector:
        """The shared arrays as float64 of shape (size,); arrays that are not shared are ignored.

        Raises LayoutError for a missing array, another shape or a dtype that is not floating.
        """
        vector = np.empty(self.size, np.float64)
        for entry in self.entries:
            array = arrays.get(entry.name)
            if array is None or array.shape != entry.shape or not np.issubdtype(array.dtype, np.floating):
                raise LayoutError(f"array {entry.name} is missing or is not a floating array of shape {entry.shape}")
            vector[entry.start : entry.start + entry.size] = array.reshape(-1)
        return vector

    def unflatten(self, vector: Vector) -> dict[str, Vector]:
        """The vector as the shared arrays: float64 in the model's shapes. Raises LayoutError for another length."""
        if vector.shape != (self.size,):
            raise LayoutError(f"a vector of shape {vector.shape} is not one of {self.size} parameters")
        return {
            entry.name: vector[entry.start : entry.start + entry.size].reshape(entry.shape) for entry in self.entries
        }


def is_shared(name: str, array: NDArray[Any], personal: Sequence[str] = ()) -> bool:
    """Whether an array of the model leaves its owner."""
    if not np.issubdtype(array.dtype, np.floating) or array.size == 0 or is_batch_norm_buffer(name):
        return False
    return not any(fnmatchcase(name, glob) for glob in personal)


def is_batch_norm_buffer(name: str) -> bool:
    """Whether an array is a running statistic of torch's BatchNorm (by its name, as in a state dict)."""
    return name.rpartition(".")[2] in _BATCH_NORM_BUFFERS
