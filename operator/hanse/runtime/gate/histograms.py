"""Counts that leave under privacy: integer histograms from the app, noised here. Used by `private`.

What an app returns for `query.statistics` and `evaluate` is one ArrayRecord `histograms` of int64 arrays. Each record
of the data adds one to at most one cell of each *group*, and groups are known without the data:

| message          | array      | shape             | groups                                                     |
|------------------|------------|-------------------|------------------------------------------------------------|
| query.statistics | `features` | (features, bins)  | each row: one feature, bins over the owner's declared range |
| evaluate         | `scores`   | (2, bins)         | both rows together: the scores of the labels 0 and 1        |
| evaluate         | `loss`     | (1, bins)         | the row: the records' losses                                |

L2 sensitivity: one record more or less changes one cell by one in each of g groups, so sqrt(g). For unit Silo all of it
may change: the counts are projected to the norm B = records * sqrt(g), which no honest counts exceed, and replacing a
silo moves them by at most 2 B. Counts stay integers (rounding towards zero lengthens no vector), so the discrete
Gaussian on them is that of Canonne, Kamath, Steinke 2020 (arXiv:2004.00010).
"""

import math
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hanse.api.privacy import Unit
from hanse.runtime.gate.checks import Planned

Counts = dict[str, NDArray[np.int64]]

RECORD: Final = "histograms"
FEATURES: Final = "features"
SCORES: Final = "scores"
LOSS: Final = "loss"
LABELS: Final = 2
_DTYPES: Final = frozenset({"int64"})
_LITTLE: Final = np.dtype("<i8")


class Noise(Protocol):
    """One draw for one release (hanse.runtime.noise.ReleaseNoise)."""

    def draw(self, sigma: float, count: int) -> NDArray[np.int64]: ...


@dataclass(frozen=True)
class Histograms:
    """The form of one release of counts, and its sensitivity."""

    shapes: dict[str, tuple[int, int]]
    groups: int
    unit: Unit
    records: int

    @property
    def planned(self) -> Planned:
        """For the checks."""
        return {name: (shape, _DTYPES) for name, shape in self.shapes.items()}

    @property
    def sensitivity(self) -> float:
        """L2, of all counts together."""
        root = math.sqrt(self.groups)
        return root if self.unit == "Record" else 2 * self.records * root

    @property
    def cells(self) -> int:
        """Counts in one release."""
        return sum(rows * bins for rows, bins in self.shapes.values())

    def enforced_multiplier(self, noise_multiplier: float) -> float:
        """Noise over the largest L2 distance of any two releases' counts, whatever the app returned."""
        root = math.sqrt(self.cells if self.unit == "Record" else 4 * self.groups)
        return noise_multiplier * self.sensitivity / (self.records * root)

    def release(self, counts: Counts, noise_multiplier: float, noise: Noise) -> bytes:
        """Bounded and noised counts, as bytes of constant size (int64, little-endian, in the order of the shapes)."""
        flat = np.concatenate([np.clip(counts[name], 0, self.records).reshape(-1) for name in self.shapes])
        if self.unit == "Silo":
            bound = self.records * math.sqrt(self.groups)
            norm = float(np.linalg.norm(flat.astype(np.float64)))
            if norm > bound:
                # Below the bound by more than float64 rounds: the floor makes it exact.
                flat = np.floor(flat * (bound / norm * (1 - 1e-12))).astype(np.int64)
        drawn = noise.draw(noise_multiplier * self.sensitivity, len(flat))
        return (flat + drawn).astype(_LITTLE).tobytes()

    def unpack(self, payload: bytes) -> Counts:
        """The arrays of a release. Raises ValueError for bytes that are none."""
        flat = np.frombuffer(payload, _LITTLE).astype(np.int64)
        found: Counts = {}
        start = 0
        for name, (rows, bins) in self.shapes.items():
            found[name] = flat[start : start + rows * bins].reshape(rows, bins)
            start += rows * bins
        if start != len(flat):
            raise ValueError("the release has another size than its form")
        return found


def statistics_histograms(features: int, bins: int, unit: Unit, records: int) -> Histograms:
    """The form of `query.statistics`."""
    return Histograms({FEATURES: (features, bins)}, features, unit, records)


def evaluation_histograms(bins: int, unit: Unit, records: int) -> Histograms:
    """The form of `evaluate`."""
    return Histograms({SCORES: (LABELS, bins), LOSS: (1, bins)}, 2, unit, records)
