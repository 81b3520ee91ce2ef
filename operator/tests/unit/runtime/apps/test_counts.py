"""Histograms that the apps return under privacy: what one record more can change, and what the server makes of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.runtime.aggregation.histograms import evaluation_metrics, standardisation
from hanse.runtime.apps.counts import count_features, count_scores
from hanse.runtime.apps.scores import accuracy, auc, f1, log_loss
from hanse.runtime.gate.histograms import evaluation_histograms, statistics_histograms

ROWS = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=30)


@settings(deadline=None)
@given(ROWS, st.integers(0, 29))
def test_one_record_more_is_one_more_in_one_cell_of_each_group(rows: list[tuple[bool, float]], which: int) -> None:
    labels, scores = (np.array(part) for part in zip(*rows, strict=True))
    without = np.arange(len(rows)) != which % len(rows)
    many = count_scores(labels.astype(np.float32), scores, 16)
    fewer = count_scores(labels[without].astype(np.float32), scores[without], 16)
    for name in ("scores", "loss"):
        change = many[name] - fewer[name]
        assert change.min() == 0
        assert change.sum() == change.max() == 1


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_one_record_more_is_one_more_in_each_feature(record: list[float]) -> None:
    shares = np.random.default_rng(0).random((20, 3))
    change = count_features(np.vstack([shares, record]), 8)["features"] - count_features(shares, 8)["features"]
    assert (change.sum(axis=1) == 1).all()
    assert change.min() == 0


def test_the_gate_expects_these_shapes_and_dtypes() -> None:
    evaluated = count_scores(np.zeros(0, np.float32), np.zeros(0), 8)
    features = count_features(np.zeros((0, 5)), 8)
    for counts, planned in (
        (evaluated, evaluation_histograms(8, "Record", 10).planned),
        (features, statistics_histograms(5, 8, "Record", 10).planned),
    ):
        assert {n: (a.shape, str(a.dtype)) for n, a in counts.items()} == {
            n: (shape, next(iter(dtypes))) for n, (shape, dtypes) in planned.items()
        }
        assert all((array == 0).all() for array in counts.values())


def test_metrics_of_the_counts_are_near_those_of_the_records() -> None:
    generator = np.random.default_rng(1)
    labels = (generator.random(5000) < 0.3).astype(np.float32)
    scores = np.clip(0.3 + 0.15 * labels + 0.2 * generator.standard_normal(5000), 0.01, 0.99)
    found = evaluation_metrics(count_scores(labels, scores, 64))
    assert found["auc"] == pytest.approx(auc(labels, scores), abs=0.002)
    assert found["loss"] == pytest.approx(log_loss(labels, scores), abs=0.01)
    assert found["accuracy"] == pytest.approx(accuracy(labels.astype(bool), scores >= 0.5), abs=1e-9)
    assert found["f1"] == pytest.approx(f1(labels, scores >= 0.5), abs=1e-9)


def test_mean_and_scale_of_the_counts_are_near_those_of_the_shares() -> None:
    shares = np.random.default_rng(2).beta(2, 5, (4000, 2))
    known = standardisation(count_features(shares, 32)["features"])
    np.testing.assert_allclose(known.mean, shares.mean(axis=0), atol=0.005)
    np.testing.assert_allclose(known.scale, shares.std(axis=0), atol=0.005)


def test_scores_of_a_rare_label_do_not_fall_into_one_bin() -> None:
    generator = np.random.default_rng(3)
    labels = (generator.random(4000) < 0.05).astype(np.float32)
    scores = 1 / (1 + np.exp(4 - 1.5 * labels - generator.standard_normal(4000)))
    assert np.median(scores) < 0.03
    found = evaluation_metrics(count_scores(labels, scores, 24))
    assert found["auc"] == pytest.approx(auc(labels, scores), abs=0.01)


def test_certain_scores_and_those_that_are_no_number_are_counted_too() -> None:
    counts = count_scores(np.array([0, 0, 1], np.float32), np.array([0.0, np.nan, 1.0]), 4)
    assert counts["scores"].tolist() == [[2, 0, 0, 0], [0, 0, 0, 1]]
    assert counts["loss"].sum() == 3
