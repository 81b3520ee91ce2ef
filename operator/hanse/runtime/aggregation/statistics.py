"""Federated standardisation: counts, sums and sums of squares of each participant become one mean and scale.

The aggregator calls `combine` before round 1; the result goes with every train and evaluate message, and into the model
file.

StatisticsError
└── FeatureMismatch     two participants do not have the same features or label
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Below this share of the mean square a variance is rounding, and the column constant.
_RELATIVE_NOISE = 1e-12


class StatisticsError(ValueError):
    """The participants' statistics do not combine."""


class FeatureMismatch(StatisticsError):
    """Participants `a` and `b` do not have the same columns; `what` says which, never a value."""

    def __init__(self, a: str, b: str, what: str) -> None:
        super().__init__(f"{a} and {b} have different features: {what}")
        self.a, self.b, self.what = a, b, what


@dataclass(frozen=True)
class Statistics:
    """One participant's: number of training records, and for each feature sum and sum of squares."""

    participant: str
    features: list[str]
    label: str
    count: int
    sum: list[float]
    sum_squares: list[float]


@dataclass(frozen=True)
class Standardisation:
    """x -> (x - mean) / scale, per feature; the scale of a constant column is 1."""

    mean: list[float]
    scale: list[float]


def combine(statistics: Sequence[Statistics]) -> Standardisation:
    """Mean and standard deviation (population) over all participants; their order does not matter.

    Raises FeatureMismatch against the first participant, StatisticsError without any record.
    """
    if not statistics or (count := sum(s.count for s in statistics)) <= 0:
        raise StatisticsError("no participant has a record")
    first = statistics[0]
    for other in statistics:
        _compare(first, other)
    mean: list[float] = []
    scale: list[float] = []
    for column in range(len(first.features)):
        centre = math.fsum(s.sum[column] for s in statistics) / count
        square = math.fsum(s.sum_squares[column] for s in statistics) / count
        variance = square - centre * centre
        mean.append(centre)
        scale.append(math.sqrt(variance) if variance > _RELATIVE_NOISE * square else 1.0)
    return Standardisation(mean, scale)


def standardise(values: NDArray[Any], by: Standardisation, *, clip: float) -> NDArray[np.float32]:
    """[rows, features] as a model takes them: (x - mean) / scale within +-clip, float32; 0 where that is no number.

    The one definition for training (`apps.tabular`) and prediction (`predict`). Always finite: mean and scale come from
    the server, which must not find out by a failure which record has the value that it divides by zero.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scaled = (np.asarray(values, np.float64) - np.asarray(by.mean)) / np.asarray(by.scale)
    return np.asarray(np.nan_to_num(np.clip(scaled, -clip, clip), nan=0.0), np.float32)


def _compare(first: Statistics, other: Statistics) -> None:
    a, b = first.participant, other.participant
    if first.label != other.label:
        raise FeatureMismatch(a, b, f"label {first.label} and {other.label}")
    only_a = [name for name in first.features if name not in set(other.features)]
    only_b = [name for name in other.features if name not in set(first.features)]
    if only_a or only_b:
        told = [f"only {who} has {_some(names)}" for who, names in ((a, only_a), (b, only_b)) if names]
        raise FeatureMismatch(a, b, "; ".join(told))
    if first.features != other.features:
        raise FeatureMismatch(a, b, "the same names in another order")
    if any(len(values) != len(other.features) for values in (other.sum, other.sum_squares)):
        raise StatisticsError(f"{b} sent statistics of another length than its features")


def _some(names: list[str], limit: int = 3) -> str:
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")
