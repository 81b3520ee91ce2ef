"""Metrics of the built-in apps, in numpy alone; also used by the tests and benchmarks on held-out sets."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]


def auc(labels: Floats, scores: Floats) -> float | None:
    """Area under the ROC curve (Mann-Whitney U with mid-ranks for ties); None where there is one class only."""
    labels, scores = np.asarray(labels).astype(bool), np.asarray(scores, np.float64)
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if positives == 0 or negatives == 0:
        return None
    order = np.argsort(scores, kind="stable")
    _, start, counts = np.unique(scores[order], return_index=True, return_counts=True)
    ranks = np.empty(len(scores))
    ranks[order] = np.repeat(start + (counts + 1) / 2, counts)
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def f1(labels: Floats, predicted: Floats) -> float:
    """F1 of the positive class; 0 where nothing is positive in truth or prediction."""
    labels, predicted = np.asarray(labels).astype(bool), np.asarray(predicted).astype(bool)
    hits = int((labels & predicted).sum())
    wrong = int((labels ^ predicted).sum())
    return 2 * hits / (2 * hits + wrong) if hits or wrong else 0.0


def macro_f1(labels: Floats, predicted: Floats) -> float:
    """Mean F1 over the classes that occur in truth."""
    return float(np.mean([f1(labels == c, predicted == c) for c in np.unique(labels)]))


def accuracy(labels: Floats, predicted: Floats) -> float:
    """Share of equal entries."""
    return float(np.mean(np.asarray(labels) == np.asarray(predicted)))


def log_loss(labels: Floats, probabilities: Floats) -> float:
    """Mean binary cross-entropy, probabilities clipped to what float32 can tell from 0 and 1."""
    p = np.clip(np.asarray(probabilities, np.float64), 1e-7, 1 - 1e-7)
    y = np.asarray(labels, np.float64)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))


def binary_metrics(labels: Floats, probabilities: Floats) -> dict[str, float]:
    """auc (where there are both classes), f1 and accuracy at 0.5."""
    predicted = np.asarray(probabilities) >= 0.5
    result = {"f1": f1(labels, predicted), "accuracy": accuracy(np.asarray(labels).astype(bool), predicted)}
    area = auc(labels, probabilities)
    return result if area is None else {"auc": area, **result}
