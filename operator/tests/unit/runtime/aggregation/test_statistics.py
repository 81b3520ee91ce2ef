"""Federated standardisation equals that of the pooled data; participants with other columns are named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.runtime.aggregation.statistics import (
    FeatureMismatch,
    Standardisation,
    Statistics,
    StatisticsError,
    combine,
    standardise,
)


def of(participant: str, rows: np.ndarray, features: list[str] | None = None, label: str = "y") -> Statistics:
    names = features if features is not None else [f"x{i}" for i in range(rows.shape[1])]
    return Statistics(
        participant, names, label, len(rows), rows.sum(axis=0).tolist(), (rows.astype(float) ** 2).sum(axis=0).tolist()
    )


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 50), min_size=1, max_size=5).filter(lambda sizes: sum(sizes) > 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_mean_and_deviation_of_the_pooled_rows(sizes: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    parts = [generator.normal(loc=[0, 5e5, -3], scale=[1, 1e5, 0.1], size=(size, 3)) for size in sizes]
    result = combine([of(str(i), part) for i, part in enumerate(parts)])
    pooled = np.concatenate(parts)
    np.testing.assert_allclose(result.mean, pooled.mean(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(result.scale, pooled.std(axis=0), rtol=1e-5)


def test_the_order_of_the_participants_changes_no_bit() -> None:
    generator = np.random.default_rng(0)
    parts = [of(str(i), generator.normal(scale=10.0**i, size=(7, 4))) for i in range(4)]
    assert combine(parts) == combine(parts[::-1])


def test_a_constant_column_has_scale_one() -> None:
    result = combine([of("a", np.full((3, 1), 0.1)), of("b", np.full((5, 1), 0.1))])
    assert result.scale == [1.0]
    assert result.mean[0] == pytest.approx(0.1)


def test_other_features_name_both_participants_and_the_columns() -> None:
    a = of("bank-a", np.zeros((2, 3)), ["age", "limit", "sex"])
    b = of("bank-b", np.zeros((2, 3)), ["age", "income", "sex"])
    with pytest.raises(FeatureMismatch, match=r"bank-a and bank-b.*only bank-a has limit; only bank-b has income") as e:
        combine([a, b])
    assert (e.value.a, e.value.b) == ("bank-a", "bank-b")


def test_order_label_and_length_are_compared_too() -> None:
    a = of("a", np.zeros((2, 2)), ["p", "q"])
    with pytest.raises(FeatureMismatch, match="another order"):
        combine([a, of("b", np.zeros((2, 2)), ["q", "p"])])
    with pytest.raises(FeatureMismatch, match="label y and z"):
        combine([a, of("b", np.zeros((2, 2)), ["p", "q"], label="z")])
    with pytest.raises(StatisticsError, match="b sent statistics of another length"):
        combine([a, Statistics("b", ["p", "q"], "y", 2, [0.0], [0.0])])


def test_nobody_has_a_record() -> None:
    with pytest.raises(StatisticsError, match="no participant"):
        combine([of("a", np.zeros((0, 2)))])
    with pytest.raises(StatisticsError, match="no participant"):
        combine([])


@pytest.mark.parametrize("mean", [0.25, float("nan"), float("inf")])
@pytest.mark.parametrize("scale", [0.0, 5e-324, float("nan"), float("inf")])
def test_no_statistics_of_a_server_fail_on_the_record_that_it_looks_for(mean: float, scale: float) -> None:
    values = np.array([[0.1], [0.25], [0.9]])
    made = standardise(values, Standardisation([mean], [scale]), clip=3.0)
    assert np.isfinite(made).all()
    assert np.abs(made).max() <= 3.0
