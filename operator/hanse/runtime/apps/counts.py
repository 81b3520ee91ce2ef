"""What the built-in apps count under differential privacy; the gate adds the noise (hanse.runtime.gate.histograms).

Each record adds one to at most one cell of each group, so that its share of what leaves is bounded whatever it holds.
numpy alone; the tabular app and the benchmark call it.
"""

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.aggregation.histograms import LOSS, LOSS_MOST, SCORES, histogram

FEATURES = "features"
#: The ArrayRecord of a reply with counts.
RECORD = "histograms"
#: Scores are counted by their log-odds, in bins of equal width within +-LOGIT_MOST: bins of equal probability would put
#: most records of a rare label into the first one, and ties hide the order. One half is the middle of both.
LOGIT_MOST = 6.0

Counts = dict[str, NDArray[np.int64]]


def count_features(shares: NDArray[np.float64], bins: int) -> Counts:
    """Shares [rows, features] of the declared ranges -> counts of shape (features, bins)."""
    rows = [histogram(shares[:, index], 0.0, 1.0, bins) for index in range(shares.shape[1])]
    return {FEATURES: np.stack(rows)}


def count_scores(labels: NDArray[np.float32], scores: NDArray[np.float64], bins: int) -> Counts:
    """Labels (0 or 1) and probabilities, [rows] each -> `scores` of shape (2, bins) and `loss` of shape (1, bins)."""
    truth = labels.astype(bool)
    right = np.clip(np.where(truth, scores, 1 - scores), 1e-7, 1.0)
    with np.errstate(divide="ignore"):  # a score of 0 or 1 is in the outermost bin
        odds = np.log(scores) - np.log1p(-scores)
    by_label = [histogram(odds[truth == label], -LOGIT_MOST, LOGIT_MOST, bins) for label in (False, True)]
    return {SCORES: np.stack(by_label), LOSS: histogram(-np.log(right), 0.0, LOSS_MOST, bins)[None]}
