"""The audited epsilon of the real filter is below the claimed one, for each unit and schedule."""

import numpy as np
import pytest
from scipy import stats

from hanse.api.compression import Compression, Sparsity
from hanse.api.privacy import Unit
from hanse.runtime.codec import HEADER_BYTES, Codec, Layout, PublicSeed
from hanse.runtime.codec.lanes import unpack
from hanse.runtime.noise import ReleaseNoise
from tests.audit.cases import SCHEDULES, claim, records, resolved, silos
from tests.audit.harness import lower_bound, observe, transcript
from tests.unit.runtime.noise.streams import fixed

DELTA = 1e-5


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_silo(schedule: str, lanes: int) -> None:
    plan = resolved("Silo", schedule)
    left, right = silos(lanes, plan.rounds)
    found = lower_bound(transcript(plan, left, "left"), transcript(plan, right, "right"), DELTA)
    assert 0.4 * claim(plan) < found < claim(plan)


@pytest.mark.parametrize(("rate", "lanes"), [("1.0", 1), ("1.0", 8), ("0.5", 2)])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_record(schedule: str, rate: str, lanes: int) -> None:
    plan = resolved("Record", schedule, rate=rate)
    left, right = records(lanes, plan.rounds)
    found = lower_bound(transcript(plan, left, "left"), transcript(plan, right, "right"), DELTA)
    assert 0.15 * claim(plan) < found < claim(plan)


@pytest.mark.parametrize("base", [1e9, -1e9, 3.0])
def test_a_sum_at_the_edge_of_ball_and_box(base: float) -> None:
    plan = resolved("Record")
    left, right = records(4, 1, base)
    assert lower_bound(transcript(plan, left, "left"), transcript(plan, right, "right"), DELTA) < claim(plan)


@pytest.mark.parametrize("bits", [8, 15])
def test_coarse_grids(bits: int) -> None:
    plan = resolved("Silo", epsilon="6.0")
    smaller = Compression(quantization_bits=bits)
    left, right = silos(4, 1)
    seen = [transcript(plan, side, name, compression=smaller) for side, name in ((left, "left"), (right, "right"))]
    assert 0.4 * claim(plan) < lower_bound(seen[0], seen[1], DELTA) < claim(plan)


def test_a_record_below_a_grid_point_on_a_coarse_grid() -> None:
    """The neighbour that moves every entry by a whole step."""
    plan = resolved("Record")
    smaller = Compression(quantization_bits=15)
    codec = Codec.of(Layout.of({"w": np.zeros(8)}), PublicSeed("sha256:audit", 1, 1), plan, smaller)
    assert codec.grid is not None
    below = (0.5 - codec.seed.dither(8) - 1e-6) * codec.grid.step
    one = np.full(8, 0.5 / np.sqrt(8))
    seen = [
        transcript(plan, [(side, side)], name, compression=smaller)
        for side, name in ((below, "left"), (below + one, "right"))
    ]
    assert lower_bound(seen[0], seen[1], DELTA) < claim(plan)


def test_random_k() -> None:
    plan = resolved("Silo")
    left, right = silos(8, 1)
    half = Compression(sparsity=Sparsity(fraction="0.5"))
    seen = [transcript(plan, side, name, compression=half) for side, name in ((left, "left"), (right, "right"))]
    assert seen[0].shape[1] == 4
    assert lower_bound(seen[0], seen[1], DELTA) < claim(plan)


# --- the harness -----------------------------------------------------------------------------------------------------


def test_a_message_of_many_runs_is_that_many_messages() -> None:
    codec = Codec.of(
        Layout.of({"w": np.zeros(4)}),
        PublicSeed("sha256:audit", 1, 1),
        resolved("Silo", epsilon="9.0"),
        Compression(quantization_bits=8),
    )
    vector, runs = np.array([0.1, -0.4, 30.0, 0.0]), 500
    assert codec.grid is not None
    stream = fixed("runs")
    one_by_one = [unpack(codec.encode(vector, ReleaseNoise(stream)).message[HEADER_BYTES:], 4, 8) for _ in range(runs)]
    together = observe(codec, vector, runs, fixed("runs"))
    # The order of the words is the same only where a draw takes one word.
    assert codec.grid.sigma <= 2048
    assert np.array_equal(np.array(one_by_one), together)


@pytest.mark.parametrize("unit", ["Silo", "Record"])
def test_equal_inputs_cannot_be_told_apart(unit: Unit) -> None:
    plan = resolved(unit)
    left, _ = silos(4, 1)
    assert lower_bound(transcript(plan, left, "left"), transcript(plan, left, "right"), DELTA) < 0.1


@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_the_auditor_finds_most_of_a_known_epsilon(epsilon: float) -> None:
    """Laplace noise is tight: the best test's ratio is e^epsilon at every threshold."""
    random = np.random.default_rng(1)
    left, right = (random.laplace(shift, 1 / epsilon, (100_000, 1)) for shift in (0.0, 1.0))
    assert 0.9 * epsilon < lower_bound(left, right, 0.0) <= epsilon * 1.01


def test_a_clopper_pearson_bound_is_on_the_safe_side() -> None:
    assert stats.beta.ppf(0.025, 10, 91) < 0.1 < stats.beta.ppf(0.975, 11, 90)
