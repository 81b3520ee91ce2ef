"""Values of a table as a tabular model takes them: by ranges that are known without the data, or by statistics.

The one definition for training (`apps.tabular`) and prediction (`predict`). With declared ranges a value becomes its
share of the range, and each share may be cut into pieces: piece j of k is 0 below j/k, 1 above (j+1)/k and linear
between (the piecewise linear encoding of Gorishniy, Rubachev, Babenko 2022, arXiv:2203.05556, with edges that no data
chose). A linear model of the pieces is a piecewise linear function of each feature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.aggregation.statistics import Standardisation, standardise


@dataclass(frozen=True)
class Encoding:
    """Declared ranges (none: values as they are), pieces, and the bound of a standardised value."""

    ranges: tuple[tuple[float, float], ...] = ()
    pieces: int = 1
    clip: float = 3.0

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Self:
        """From what a model file says about itself. Raises KeyError, TypeError or ValueError for what is none."""
        ranges = tuple((float(low), float(high)) for low, high in about.get("ranges", []))
        return cls(ranges, int(about.get("pieces", 1)), float(about["clip"]))

    def about(self) -> dict[str, Any]:
        """For the model file; `of` is its inverse."""
        ranged = {"ranges": [list(r) for r in self.ranges], "pieces": self.pieces} if self.ranges else {}
        return {"clip": self.clip, **ranged}

    def columns(self, features: int) -> int:
        """How many inputs the model has for so many features."""
        return sum(self._counts()) if self.ranges else features

    def shares(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """[rows, features] -> shares of the ranges, within 0..1. The encoding must have ranges."""
        low, high = np.asarray(self.ranges, np.float64).T
        return np.asarray((np.clip(np.asarray(values, np.float64), low, high) - low) / (high - low))

    def apply(self, values: NDArray[Any], known: Standardisation | None) -> NDArray[np.float32]:
        """[rows, features] -> [rows, columns]. With ranges `known` is in shares of them, and pieces are not for it."""
        if self.ranges:
            shares = self.shares(values)
            return standardise(shares, known, clip=self.clip) if known is not None else self._cut(shares)
        if known is not None:
            return standardise(values, known, clip=self.clip)
        return np.asarray(values, np.float32)

    def _cut(self, shares: NDArray[np.float64]) -> NDArray[np.float32]:
        parts = [
            np.clip(shares[:, index, None] * count - np.arange(count), 0.0, 1.0)
            for index, count in enumerate(self._counts())
        ]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def _counts(self) -> Sequence[int]:
        """Pieces of each feature; a range no wider than 1 is one piece: flags and one-hot columns stay as they are."""
        return [1 if high - low <= 1 else self.pieces for low, high in self.ranges]
