"""The integer CDF against rational arithmetic, and its stated error."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.runtime.noise import table
from tests.unit.runtime.noise import exact

SIGMAS = [Fraction(1, 4), Fraction(1, 2), Fraction(7, 10), Fraction(1), Fraction(7, 5), Fraction(3), Fraction(21, 2)]


def compare(variance: Fraction) -> Fraction:
    """The sum of |F - F'| over the thresholds, at most; asserts the bound of each on the way."""
    thresholds = table.cdf(variance)
    last = table.last_index(variance)
    assert len(thresholds) == last
    allowed = Fraction(1, 1 << table.DRAW_BITS) + Fraction(4 * (last + 1) ** 3, 1 << 576)
    total = Fraction(0)
    for threshold, (low, high) in zip(thresholds, exact.cdf(variance, last), strict=False):
        value = Fraction(threshold, 1 << table.DRAW_BITS)
        distance = max(abs(value - low), abs(value - high))
        assert distance <= allowed
        total += distance
    return total


@pytest.mark.parametrize("sigma", SIGMAS, ids=str)
def test_every_threshold_is_within_the_stated_error(sigma: Fraction) -> None:
    total = compare(sigma**2)
    assert float(total) + 2.0**-511 <= table.total_variation(sigma**2)


@given(st.fractions(min_value=Fraction(1, 16), max_value=40, max_denominator=10**6))
@settings(max_examples=25, deadline=None)
def test_thresholds_of_any_variance(variance: Fraction) -> None:
    compare(variance)


def test_a_long_table_is_within_the_stated_error() -> None:
    assert float(compare(Fraction(12345, 10))) <= table.total_variation(Fraction(12345, 10))


@given(st.floats(0.25, 2048))
@settings(max_examples=50, deadline=None)
def test_the_cut_tail_is_negligible(sigma: float) -> None:
    last = table.last_index(Fraction(sigma) ** 2)
    # log2 of Chernoff's bound 2 exp(-(K + 1)^2 / (2 sigma^2))
    assert 1 - (last + 1) ** 2 / (2 * sigma**2) / math.log(2) <= -table.DRAW_BITS


def test_the_reference_knows_the_exponential() -> None:
    for x in (Fraction(0), Fraction(1, 3), Fraction(1), Fraction(17, 2)):
        low, high = exact.exp_of_minus(x)
        assert low <= high
        assert high - low < Fraction(1, 1 << 1300)
        assert float(low) == pytest.approx(math.exp(-x), rel=1e-15)


@pytest.mark.parametrize("sigma", [0.25, 1.0, 300.0, 2048.0])
def test_the_stated_distance_is_far_below_a_53_bit_table(sigma: float) -> None:
    assert table.total_variation(Fraction(sigma) ** 2) < 2.0**-490
