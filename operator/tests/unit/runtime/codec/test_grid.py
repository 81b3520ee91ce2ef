"""The choice of the grid: sensitivity, noise and lanes, computed here again from the definitions."""

import dataclasses
import math

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hanse.runtime.codec import Demand, Grid, GridTooCoarseError, choose
from hanse.runtime.codec.grid import FLOAT_MARGIN, MAX_INFLATION, MIN_HEADROOM, WRAP_PROBABILITY
from hanse.runtime.noise import FINE_SIGMA

demands = st.builds(
    Demand,
    unit=st.sampled_from(["Silo", "Record"]),
    clip=st.floats(1e-6, 1e6),
    noise_multiplier=st.floats(0.01, 1000),
    lanes=st.integers(1, 20_000_000),
    bits=st.sampled_from([32, 15, 8]),
    releases=st.integers(1, 10_000),
    expected_batch=st.integers(1, 10**7),
)


def chosen(demand: Demand) -> Grid:
    """The grid, or no example."""
    try:
        return choose(demand)
    except GridTooCoarseError:
        assume(False)
        raise


@given(demands)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_a_grid_keeps_what_its_docstring_says(demand: Demand) -> None:
    grid = chosen(demand)
    noise_is_the_multiplier_times_the_sensitivity(demand, grid)
    no_lane_wraps_over_a_job(demand, grid)
    if demand.unit == "Record":  # a sum of several records fits an entry
        assert grid.bound >= min(MIN_HEADROOM, demand.expected_batch) * grid.radius * (1 - 1e-9)


def noise_is_the_multiplier_times_the_sensitivity(demand: Demand, grid: Grid) -> None:
    radius = demand.clip / grid.step
    if demand.unit == "Silo":
        assert grid.sensitivity == 2 * grid.norm
        assert grid.norm >= radius * (1 - 1e-12)
    else:
        assert grid.sensitivity >= (radius * (1 + FLOAT_MARGIN) + math.sqrt(demand.lanes)) * (1 - 1e-12)
    assert demand.noise_multiplier * grid.sensitivity <= grid.sigma <= FINE_SIGMA
    assert grid.sigma <= demand.noise_multiplier * grid.sensitivity * (1 + 1e-9)
    assert 1 <= grid.inflation <= MAX_INFLATION


def no_lane_wraps_over_a_job(demand: Demand, grid: Grid) -> None:
    room = (2 ** (demand.bits - 1) - 1) - (grid.bound + 1)
    lanes = demand.lanes * demand.releases * 1024
    # log of N * 2 exp(-x^2 / (2 sigma^2)), N over all lanes of all participants and releases
    assert math.log(2 * lanes) - (room / grid.sigma) ** 2 / 2 <= math.log(WRAP_PROBABILITY) + 1e-6


@pytest.mark.parametrize("size", [100, 30_000, 1_000_000, 11_000_000])
@pytest.mark.parametrize("unit", ["Silo", "Record"])
def test_full_lanes_cost_at_most_two_percent_of_noise(unit: str, size: int) -> None:
    grid = choose(Demand(unit, 1.0, 2.0, size, 32, 400, 8000))  # type: ignore[arg-type]
    assert grid.inflation < 1.02


def test_a_whole_batch_fits_full_lanes() -> None:
    grid = choose(Demand("Record", 1.0, 4.0, 10_000, 32, 100, 8000))
    assert grid.bound == grid.ball == pytest.approx(8000 * grid.radius)


@pytest.mark.parametrize(
    "demand",
    [
        Demand("Silo", 1.0, 1.0, 1_000_000, 8, 20),
        Demand("Record", 1.0, 1.0, 1_000, 8, 20, 100),
        Demand("Record", 1.0, 10.0, 100_000, 15, 20, 100),
        Demand("Silo", 1.0, 1000.0, 1_000_000, 32, 20),
    ],
    ids=["8 bits", "8 bits, records", "15 bits", "noise beyond the tables"],
)
def test_a_grid_that_makes_no_sense_is_refused(demand: Demand) -> None:
    with pytest.raises(GridTooCoarseError, match=f"{demand.bits} bits.*more bits"):
        choose(demand)


def test_small_models_fit_8_bits() -> None:
    assert choose(Demand("Silo", 1.0, 0.5, 20, 8, 20)).bits == 8


def test_the_gate_alone_guarantees_less_than_the_records_multiplier() -> None:
    grid = choose(Demand("Record", 1.0, 4.0, 100, 32, 20, expected_batch=50))
    assert grid.enforced_multiplier == pytest.approx(4.0 / (2 * 50), rel=0.01)
    silo = choose(Demand("Silo", 1.0, 4.0, 100, 32, 20))
    assert silo.enforced_multiplier == pytest.approx(4.0)


def test_reach_grows_with_noise_and_dimension() -> None:
    base = Demand("Silo", 1.0, 1.0, 100, 32, 20)
    reach = choose(base).reach(20) * choose(base).step
    for change in ({"lanes": 1000}, {"noise_multiplier": 2.0}, {"clip": 2.0}):
        grid = choose(dataclasses.replace(base, **change))
        assert grid.reach(20) * grid.step > 1.3 * reach
