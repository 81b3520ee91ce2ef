"""Metrics and scales from histograms: near the exact ones, within their ranges whatever the noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hanse.runtime.aggregation.histograms import LOSS_MOST, bin_of, evaluation_metrics, histogram, standardisation
from hanse.runtime.apps.scores import binary_metrics

RANDOM = np.random.default_rng(7)
LABELS = RANDOM.integers(0, 2, 4000)
SCORES = np.clip(RANDOM.normal(0.35 + 0.25 * LABELS, 0.2), 0.0, 1.0)


def counts(bins: int) -> dict[str, np.ndarray]:
    by_label = [histogram(SCORES[label == LABELS], 0.0, 1.0, bins) for label in (0, 1)]
    loss = -np.log(np.clip(np.where(LABELS == 1, SCORES, 1 - SCORES), 1e-3, 1))
    return {"scores": np.stack(by_label), "loss": histogram(loss, 0.0, LOSS_MOST, bins)[None]}


@pytest.mark.parametrize(("bins", "within"), [(256, 0.002), (32, 0.01), (8, 0.04)])
def test_metrics_are_near_the_exact_ones(bins: int, within: float) -> None:
    exact = binary_metrics(LABELS.astype(np.float64), SCORES)
    found = evaluation_metrics(counts(bins))
    for name in ("auc", "accuracy", "f1"):
        assert found[name] == pytest.approx(exact[name], abs=within), name


def test_participants_counts_add_up_to_the_metrics_of_all() -> None:
    whole = counts(64)
    half = {name: value // 2 for name, value in whole.items()}
    rest = {name: whole[name] - half[name] for name in whole}
    assert evaluation_metrics({name: half[name] + rest[name] for name in whole}) == evaluation_metrics(whole)


def test_a_label_that_nobody_has_leaves_its_metrics_out() -> None:
    none = {"scores": np.stack([np.full(4, 5), np.zeros(4, np.int64)]), "loss": np.zeros((1, 4), np.int64)}
    assert evaluation_metrics(none) == {}
    assert evaluation_metrics({}) == {}


@settings(deadline=None)
@given(
    scores=hnp.arrays(np.int64, (2, 8), elements=st.integers(-(10**6), 10**6)),
    loss=hnp.arrays(np.int64, (1, 8), elements=st.integers(-(10**6), 10**6)),
)
def test_whatever_the_noise_metrics_are_in_their_range(scores: np.ndarray, loss: np.ndarray) -> None:
    for name, value in evaluation_metrics({"scores": scores, "loss": loss}).items():
        assert 0.0 <= value <= (LOSS_MOST if name == "loss" else 1.0)


@settings(deadline=None)
@given(features=hnp.arrays(np.int64, (3, 16), elements=st.integers(-(10**6), 10**6)))
def test_whatever_the_noise_scales_are_positive(features: np.ndarray) -> None:
    found = standardisation(features)
    assert all(0.0 <= mean <= 1.0 for mean in found.mean)
    assert all(scale > 0 for scale in found.scale)


def test_mean_and_scale_are_shares_of_the_range() -> None:
    values = RANDOM.normal(40, 10, 20_000)
    found = standardisation(histogram(values, 0, 100, 64)[None])
    assert found.mean[0] * 100 == pytest.approx(values.mean(), abs=0.5)
    assert found.scale[0] * 100 == pytest.approx(values.std(), abs=0.5)


def test_what_lies_beyond_the_range_is_in_its_ends() -> None:
    assert bin_of(np.array([-5.0, 0.0, 0.49, 0.5, 1.0, 9.0]), 0.0, 1.0, 2).tolist() == [0, 0, 0, 1, 1, 1]


def test_a_record_that_no_number_comes_of_is_counted_and_not_told() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 0.6])
    assert histogram(values, 0.0, 1.0, 2).tolist() == [2, 2]
