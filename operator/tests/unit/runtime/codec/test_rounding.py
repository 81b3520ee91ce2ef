"""Projection and rounding: the sensitivities of `grid`'s docstring, by random and by adversarial neighbours."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hanse.runtime.codec import Demand, Grid, choose
from hanse.runtime.codec.rounding import norm, project, round_record, round_silo
from tests.unit.runtime.codec.plans import seed

Vector = NDArray[np.float64]
entries = st.floats(-1e300, 1e300) | st.floats(-10, 10) | st.sampled_from([0.0, 5e-324, 1e308, -1e308, 0.5, -0.5])


def square(vector: Vector) -> Fraction:
    """|vector|^2 without rounding."""
    return sum((Fraction(float(value)) ** 2 for value in vector), Fraction(0))


def points_square(points: NDArray[np.int64], dither: Vector) -> Fraction:
    """|points - dither|^2 without rounding: a dither is a whole number of 2^-33."""
    units = [int(value) for value in (points - dither) * 2.0**33]
    return Fraction(sum(unit * unit for unit in units), 1 << 66)


def silo(lanes: int, bits: int = 32, noise: float = 1.0) -> Grid:
    return choose(Demand("Silo", 1.0, noise, lanes, bits, 20))


def record(lanes: int, bits: int = 32, batch: int = 20, noise: float = 0.5) -> Grid:
    return choose(Demand("Record", 1.0, noise, lanes, bits, 20, batch))


@given(st.lists(entries, min_size=1, max_size=8), st.floats(1e-3, 1e9))
@settings(max_examples=60, deadline=None)
def test_a_projection_is_in_the_ball(values: list[float], radius: float) -> None:
    vector = np.array(values)
    projected = project(vector, radius)
    assert np.all(np.isfinite(projected))
    assert square(projected) <= Fraction(radius) ** 2
    if square(vector) <= (Fraction(radius) * Fraction(999, 1000)) ** 2:
        assert np.array_equal(projected, vector)
    elif square(vector) > Fraction(radius) ** 2:
        assert norm(projected) == pytest.approx(radius, rel=1e-6)


@given(st.integers(0, 2**32), st.floats(0.1, 100), st.floats(0, 300))
@settings(max_examples=100, deadline=None)
def test_a_projection_is_non_expansive(number: int, radius: float, length: float) -> None:
    left, right = np.random.default_rng(number).normal(size=(2, 10)) * length
    assert norm(project(left, radius) - project(right, radius)) <= norm(left - right) * (1 + 1e-12) + 1e-9


def test_a_zero_update_stays_zero() -> None:
    assert np.array_equal(project(np.zeros(5), 1.0), np.zeros(5))


def corners(lanes: int, dither: Vector, grid: Grid) -> list[Vector]:
    """Vectors of at most the radius whose rounding errors all point outwards, as far as the radius goes."""
    signs = np.where(dither >= 0, 1.0, -1.0)
    push = signs * (0.5 - np.abs(dither)) * (1 + 1e-9)  # the least that moves each entry to the next point
    cheapest = np.argsort(np.abs(push))
    affordable = np.cumsum(np.square(push[cheapest])) <= grid.radius**2
    greedy = np.zeros(lanes)
    greedy[cheapest[affordable]] = push[cheapest[affordable]]
    flat = np.full(lanes, grid.radius / math.sqrt(lanes))
    spike = np.zeros(lanes)
    spike[0] = grid.radius
    huge = signs * 1e200
    return [greedy, -greedy, flat, -flat, spike, -spike, huge, -huge, push, flat * signs, np.zeros(lanes)]


@pytest.mark.parametrize(
    ("lanes", "bits", "noise"), [(1, 32, 1.0), (8, 8, 0.5), (40, 8, 0.3), (3000, 15, 5.0), (3000, 32, 1.0)]
)
def test_a_silos_points_are_within_the_norm(lanes: int, bits: int, noise: float) -> None:
    grid = silo(lanes, bits, noise)
    for number in range(2):
        dither = seed(number).dither(lanes)
        for vector in corners(lanes, dither, grid):
            points = round_silo(vector, dither, grid)
            assert points.dtype == np.int64
            assert points_square(points, dither) <= Fraction(grid.norm) ** 2


@given(st.integers(0, 2**32), st.integers(1, 60), st.sampled_from([8, 15, 32]), st.floats(0, 3))
@settings(max_examples=80, deadline=None)
def test_any_two_silos_are_within_the_sensitivity(number: int, lanes: int, bits: int, length: float) -> None:
    grid = silo(lanes, bits, 0.2)
    random = np.random.default_rng(number)
    dither = seed(number).dither(lanes)
    left, right = (random.normal(size=lanes) * grid.radius * length / math.sqrt(lanes) for _ in range(2))
    difference = round_silo(left, dither, grid) - round_silo(right, dither, grid)
    assert sum(value * value for value in difference.tolist()) <= Fraction(grid.sensitivity) ** 2


def test_a_dither_out_of_bounds_releases_nothing_of_the_data() -> None:
    grid = silo(3000, 15, 5.0)
    worst = np.full(3000, 0.4999) * math.ceil(grid.norm / (0.4999 * math.sqrt(3000)) + 1)
    for vector in (np.zeros(3000), np.full(3000, 1.0), np.full(3000, -1e9)):
        assert not round_silo(vector, worst, grid).any()


def test_an_honest_silo_is_hardly_moved() -> None:
    grid = silo(3000, 15, 2.0)
    dither = seed().dither(3000)
    vector = project(np.random.default_rng(1).normal(size=3000) * 1e6, grid.radius)
    assert np.max(np.abs(round_silo(vector, dither, grid) - dither - vector)) <= 0.5 + 1e-9


@given(st.integers(0, 2**32), st.integers(1, 60), st.sampled_from([15, 32]), st.floats(0, 60))
@settings(max_examples=80, deadline=None)
def test_a_record_moves_a_sum_by_at_most_the_sensitivity(number: int, lanes: int, bits: int, length: float) -> None:
    grid = record(lanes, bits)
    random = np.random.default_rng(number)
    dither = seed(number).dither(lanes)
    total = random.normal(size=lanes) * grid.radius * length / math.sqrt(lanes)
    gradient = random.normal(size=lanes)
    gradient *= grid.radius / norm(gradient)
    difference = round_record(total + gradient, dither, grid) - round_record(total, dither, grid)
    assert sum(value * value for value in difference.tolist()) <= Fraction(grid.sensitivity) ** 2


@pytest.mark.parametrize("base", [0.0, 0.3, 3.0, 1e12])
def test_a_record_that_flips_every_entry_is_covered(base: float) -> None:
    """Every entry lies just below the next grid point: the worst neighbour that rounding allows."""
    lanes = 2000
    grid = record(lanes, 15)
    dither = seed().dither(lanes)
    total = np.rint(base * grid.radius) + 0.5 - dither - 1e-6
    gradient = np.full(lanes, grid.radius / math.sqrt(lanes))
    difference = round_record(total + gradient, dither, grid) - round_record(total, dither, grid)
    moved = norm(difference.astype(np.float64))
    assert moved <= grid.sensitivity
    if base < 1:
        # More than the real sensitivity: without sqrt(k) the noise would be too small.
        assert moved > grid.radius * (1 + 1e-3)


def test_a_sum_beyond_its_batch_is_projected() -> None:
    grid = record(50, 32, batch=20)
    points = round_record(np.full(50, 1e12), np.zeros(50), grid)
    assert norm(points.astype(np.float64)) <= grid.ball + math.sqrt(50)


def test_a_sum_beyond_a_lane_is_cut_before_the_noise() -> None:
    grid = record(50, 15, batch=10_000)
    assert grid.bound < grid.ball
    points = round_record(np.full(50, 1e12), np.zeros(50), grid)
    assert np.max(points) <= grid.bound + 1
