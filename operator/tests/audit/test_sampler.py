"""The vectorised inversion: exact at every boundary, and of the right distribution (OpenDP is the oracle)."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats  # comes with dp-accounting

from hanse.runtime.noise import (
    MAX_SIGMA,
    ReleaseNoise,
    SamplerDeltaError,
    SigmaError,
    sampler,
    sampler_delta,
    table,
    total_variation,
)
from hanse.runtime.noise.sampler import BASE_SIGMA, _terms
from tests.unit.runtime.noise.streams import Words, fixed

RARE = 1e-9
LOW = 448


def counted(thresholds: list[int], draw: int) -> int:
    """What inversion means: how many thresholds are not above the draw."""
    return sum(threshold <= draw for threshold in thresholds)


@pytest.mark.parametrize("sigma", [0.25, 1.0, 3.7])
def test_every_boundary_of_the_table_is_exact(sigma: float) -> None:
    thresholds = table.cdf(Fraction(sigma) ** 2)
    chosen = sampler(sigma)
    for threshold in thresholds:
        for draw in (threshold - 1, threshold, threshold + 1):
            if not 0 <= draw < 1 << table.DRAW_BITS:
                continue
            first, low = draw >> LOW, draw & ((1 << LOW) - 1)
            rest = [(low >> shift) & (2**64 - 1) for shift in range(LOW - 64, -64, -64)]
            for sign in (0, 1):
                value = chosen.draw(Words(first << 1 | sign, *rest), 1)[0]
                assert value == (-1) ** sign * counted(thresholds, draw)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20), st.sampled_from([0.3, 1.0, 17.25, 400.0]))
@settings(max_examples=60, deadline=None)
def test_any_word_is_inverted_as_the_table_says(words: list[int], sigma: float) -> None:
    thresholds = table.cdf(Fraction(sigma) ** 2)
    # The lower bits of a word that ties are zeros here.
    expected = [(-1) ** (word & 1) * counted(thresholds, (word >> 1) << LOW) for word in words]
    assert sampler(sigma).draw(Words(*words, *[0] * 7 * len(words)), len(words)).tolist() == expected


@pytest.mark.parametrize(("sigma", "draws"), [(2048.0, 1), (50_000.0, 2), (2.0**19, 2), (2.0**22, 3), (2.0**26, 3)])
def test_a_wide_sigma_is_a_sum_of_draws(sigma: float, draws: int) -> None:
    terms, _ = _terms(Fraction(sigma) ** 2)
    assert len(terms) == draws
    assert sum(stride**2 * variance for stride, variance in terms) == Fraction(sigma) ** 2
    assert all(variance <= BASE_SIGMA**2 for _, variance in terms)
    words = [2**63 + 10, 2**62 + 1, 12345][:draws]
    tables = [table.cdf(variance) for _, variance in terms]
    drawn = [(-1) ** (word & 1) * counted(one, (word >> 1) << LOW) for word, one in zip(words, tables, strict=True)]
    expected = sum(stride * value for (stride, _), value in zip(terms, drawn, strict=True))
    assert sampler(sigma).draw(Words(*words), 1)[0] == expected


@given(st.floats(BASE_SIGMA, MAX_SIGMA) | st.floats(BASE_SIGMA, 4 * BASE_SIGMA))
@settings(deadline=None)
def test_sums_are_smooth_enough(sigma: float) -> None:
    """v = s t / sigma of the docstring is at least 4 wherever two laws are added."""
    terms, distance = _terms(Fraction(sigma) ** 2)
    while len(terms) > 1:
        (stride, near), far = terms[0], sum(stride**2 * variance for stride, variance in terms[1:])
        unit = terms[1][0] if len(terms) == 2 else 256
        assert stride == 1
        assert float(near * far / unit**2) / float(near + far) >= 16
        terms = [(step // unit, variance) for step, variance in terms[1:]]
    assert distance < 2.0**-450
    assert total_variation(sigma) < 2.0**-440


def exact_pmf(sigma: float, values: NDArray[np.int64]) -> NDArray[np.float64]:
    span = np.arange(-math.ceil(12 * sigma), math.ceil(12 * sigma) + 1)
    return np.asarray(np.exp(-(values**2) / (2 * sigma**2)) / np.exp(-(span**2) / (2 * sigma**2)).sum())


@pytest.mark.parametrize("sigma", [0.4, 1.0, 5.5, 60.0])
def test_counts_fit_the_exact_law(sigma: float) -> None:
    draws = 400_000
    values = sampler(sigma).draw(fixed(f"counts {sigma}"), draws)
    span = np.arange(-math.ceil(4 * sigma), math.ceil(4 * sigma) + 1)
    expected = exact_pmf(sigma, span) * draws
    span, expected = span[expected >= 20], expected[expected >= 20]
    seen = np.array([np.count_nonzero(values == value) for value in span])
    rest = draws - expected.sum()
    statistic = float(np.sum((seen - expected) ** 2 / expected) + (draws - seen.sum() - rest) ** 2 / max(rest, 1.0))
    assert stats.chi2.sf(statistic, len(span)) > RARE


@pytest.mark.parametrize("sigma", [900.0, 5_000.0, 2.0**17, 2.0**19, 2.0**24])
def test_wide_laws_fit_the_rounded_gaussian(sigma: float) -> None:
    values = sampler(sigma).draw(fixed(f"wide {sigma}"), 400_000)
    jitter = np.random.default_rng(1).uniform(-0.5, 0.5, len(values))
    assert stats.kstest((values + jitter) / sigma, "norm").pvalue > RARE


@pytest.mark.parametrize("sigma", [1.3, 40.0])
def test_opendp_draws_the_same_law(sigma: float) -> None:
    import opendp.prelude as dp

    dp.enable_features("contrib")
    measurement = dp.m.make_gaussian(dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float), scale=sigma)
    count = 30_000
    theirs = Counter(np.asarray(measurement([0] * count)) // max(1, round(sigma / 4)))
    ours = Counter(sampler(sigma).draw(fixed(f"opendp {sigma}"), count) // max(1, round(sigma / 4)))
    cells = [value for value in ours | theirs if ours[value] + theirs[value] >= 40]
    statistic = sum((ours[cell] - theirs[cell]) ** 2 / (ours[cell] + theirs[cell]) for cell in cells)
    assert stats.chi2.sf(statistic, len(cells)) > RARE


def test_neighbouring_draws_are_independent() -> None:
    values = sampler(3_000.0).draw(fixed("independent"), 400_000) / 3_000.0
    for lag in (1, 2, 1 << 16):  # the last one: the sampler's chunks
        correlation = float(np.mean(values[lag:] * values[:-lag]))
        assert abs(correlation) < 6.2 / math.sqrt(len(values) - lag)


@pytest.mark.parametrize("sigma", [0.0, -1.0, 0.2, MAX_SIGMA * 1.001, math.inf, math.nan])
def test_a_sigma_outside_of_the_tables_is_refused(sigma: float) -> None:
    with pytest.raises(SigmaError):
        ReleaseNoise(Words()).draw(sigma, 3)


def test_a_million_parameters_and_400_rounds_add_far_less_than_a_hundredth_of_delta() -> None:
    assert sampler_delta({2.0**19: 400 * 10**6, 2048.0: 400 * 10**6}, epsilon=50, delta=1e-5) < 1e-60


def test_a_share_above_a_hundredth_of_delta_is_refused() -> None:
    with pytest.raises(SamplerDeltaError):
        sampler_delta({2.0**19: 10**9}, epsilon=400, delta=1e-5)


def test_the_share_counts_each_draw() -> None:
    one = sampler_delta({10.0: 1}, epsilon=1, delta=1e-5)
    assert sampler_delta({10.0: 7, 20.0: 2}, epsilon=1, delta=1e-5) == pytest.approx(
        7 * one + 2 * sampler_delta({20.0: 1}, epsilon=1, delta=1e-5)
    )
    assert one == pytest.approx(total_variation(10.0) * (1 + math.e))
