"""Metrics against brute force and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.runtime.apps.scores import accuracy, auc, binary_metrics, f1, log_loss, macro_f1

PAIRS = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0])), min_size=1, max_size=40)


@settings(deadline=None)
@given(PAIRS)
def test_auc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[bool, float]]) -> None:
    positive = [score for label, score in pairs if label]
    negative = [score for label, score in pairs if not label]
    found = auc(np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs]))
    if not positive or not negative:
        assert found is None
        return
    won = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
    assert found == pytest.approx(won / (len(positive) * len(negative)), abs=1e-12)


@settings(deadline=None)
@given(PAIRS)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(pairs: list[tuple[bool, float]]) -> None:
    labels = np.array([p[0] for p in pairs])
    predicted = np.array([p[1] >= 0.5 for p in pairs])
    hits = int(np.sum(labels & predicted))
    if hits:
        precision, recall = hits / predicted.sum(), hits / labels.sum()
        assert f1(labels, predicted) == pytest.approx(2 * precision * recall / (precision + recall))
    else:
        assert f1(labels, predicted) == 0.0


def test_by_hand() -> None:
    labels, predicted = np.array([0, 1, 2, 2]), np.array([0, 2, 2, 2])
    assert accuracy(labels, predicted) == 0.75
    assert macro_f1(labels, predicted) == pytest.approx((1 + 0 + 0.8) / 3)
    assert log_loss(np.array([1, 0]), np.array([0.5, 0.5])) == pytest.approx(np.log(2))
    assert np.isfinite(log_loss(np.array([1, 0]), np.array([0.0, 1.0])))


def test_one_class_has_no_auc() -> None:
    assert binary_metrics(np.zeros(3), np.array([0.1, 0.2, 0.9])) == {"f1": 0.0, "accuracy": pytest.approx(2 / 3)}
    assert set(binary_metrics(np.array([0, 1]), np.array([0.1, 0.9]))) == {"auc", "f1", "accuracy"}
