"""Metrics and scales from noised integer histograms, summed over the participants. Called by the round loop.

The histograms are those of `hanse.runtime.gate.histograms`: the noise is in the counts, so whatever is computed here
costs nothing more. Counts may be negative. Sums are taken as they are (cutting each count at zero would add mass to
empty bins) and results are brought into their range; a metric whose records the noise outweighs is left out.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.aggregation.statistics import Standardisation

SCORES: Final = "scores"
LOSS: Final = "loss"
#: A record's loss is counted in bins of equal width over [0, LOSS_MOST]; larger ones are in the last bin.
LOSS_MOST: Final = 4.0
#: A standard deviation below this share of the range is noise.
_SMALLEST_SCALE: Final = 0.01

Counts = Mapping[str, NDArray[Any]]


def bin_of(values: NDArray[Any], low: float, high: float, bins: int) -> NDArray[np.intp]:
    """The bin of each value: equal width over [low, high], the ends hold what is beyond them; NaN is in the first.

    A record that no number comes of is counted like any other: an error would tell of it, and it has no noise.
    """
    share = (np.asarray(values, np.float64) - low) / (high - low)
    share = np.where(np.isnan(share), 0.0, share)
    return np.clip(np.floor(share * bins), 0, bins - 1).astype(np.intp)


def histogram(values: NDArray[Any], low: float, high: float, bins: int) -> NDArray[np.int64]:
    """Counts of the values in their bins, int64 of shape (bins,)."""
    return np.bincount(bin_of(values, low, high, bins), minlength=bins).astype(np.int64)


def standardisation(features: NDArray[Any]) -> Standardisation:
    """Mean and standard deviation of each feature as shares of its range, from counts of shape (features, bins)."""
    counts = np.asarray(features, np.float64)
    centres = (np.arange(counts.shape[1]) + 0.5) / counts.shape[1]
    mean: list[float] = []
    scale: list[float] = []
    for row in counts:
        total = float(row.sum())
        centre = float(np.clip(row @ centres / total, 0.0, 1.0)) if total > 0 else 0.5
        variance = float(row @ (centres - centre) ** 2 / total) if total > 0 else 0.0
        mean.append(centre)
        scale.append(max(float(np.sqrt(max(variance, 0.0))), _SMALLEST_SCALE))
    return Standardisation(mean, scale)


def evaluation_metrics(counts: Counts) -> dict[str, float]:
    """auc, accuracy and f1 at the score 0.5, and the mean loss.

    `scores` of shape (2, bins): records of label 0 and of label 1, in bins that rise with the score, of which half are
    below 0.5 (apps.counts has the log-odds); `loss` of shape (1, bins).
    """
    found: dict[str, float] = {}
    if SCORES in counts:
        found |= _of_scores(np.asarray(counts[SCORES], np.float64))
    if LOSS in counts:
        losses = np.asarray(counts[LOSS], np.float64).reshape(-1)
        if (total := float(losses.sum())) > 0:
            centres = (np.arange(len(losses)) + 0.5) * (LOSS_MOST / len(losses))
            found["loss"] = float(np.clip(losses @ centres / total, 0.0, LOSS_MOST))
    return found


def _of_scores(scores: NDArray[np.float64]) -> dict[str, float]:
    negative, positive = scores
    negatives, positives = float(negative.sum()), float(positive.sum())
    if negatives <= 0 or positives <= 0:
        return {}
    below = np.cumsum(negative) - negative
    ranked = float(positive @ (below + negative / 2))
    middle = (scores.shape[1] + 1) // 2
    hits, alarms = float(positive[middle:].sum()), float(negative[middle:].sum())
    flagged = hits + alarms + positives
    return {
        "auc": _share(ranked / (positives * negatives)),
        "accuracy": _share((hits + negatives - alarms) / (positives + negatives)),
        "f1": _share(2 * hits / flagged) if flagged > 0 else 0.0,
    }


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)
