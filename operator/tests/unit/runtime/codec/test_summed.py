"""Encrypted sums: exact to half a step each, never beyond their lanes, and as sensitive as `sumgrid` says at most."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hanse.api.privacy import PrivacyPlan, Unit
from hanse.dp import MIN_SHARE_STEPS
from hanse.runtime.codec import (
    CAPACITY,
    CodecError,
    GridTooCoarseError,
    MessageError,
    NoiseMissingError,
    NotFiniteError,
    PlainGrid,
    PrivateGrid,
    SumCodec,
    check_rounds,
)
from hanse.runtime.codec.grid import FLOAT_MARGIN
from hanse.runtime.codec.sumgrid import MAX_MEMBERS, SumDemand, plain, private
from hanse.runtime.codec.summed import _fine_points
from hanse.runtime.noise import ReleaseNoise, SamplerDeltaError
from tests.unit.runtime.codec.plans import NoNoise, compression, layout, plan, update
from tests.unit.runtime.noise.streams import fixed

Vector = NDArray[np.float64]
AGREEMENT = "sha256:" + "cd" * 32
SCALES = st.floats(1e-4, 1.0)


def members(*scales: float, batch: float | None = None) -> tuple[tuple[float, float], ...]:
    """As the plan has them; with `batch` those of unit Record, whose masses are scale times expected batch."""
    return tuple((scale, scale * (batch or 1)) for scale in scales)


def distributed(unit: Unit, *multipliers: float, quorum: int = 3, colluding: int = 0, **fields: Any) -> PrivacyPlan:
    """A plan whose noise comes in shares."""
    update = {"mechanism": "Distributed", "quorum": quorum, "collusion_threshold": colluding}
    return plan(unit, *multipliers, **fields).model_copy(update=update)


def codec(size: int = 8, among: Any = None, **fields: Any) -> SumCodec:
    """Without differential privacy unless there is a plan; three equal members unless told."""
    arguments: dict[str, Any] = {"plan": None, "reach": None if "plan" in fields else 1.0} | fields
    number = arguments.pop("number", 1)
    return SumCodec.of(layout(size), number, AGREEMENT, among or members(1, 1, 1), **arguments)


class TestPlain:
    @given(
        st.lists(SCALES, min_size=1, max_size=40) | st.integers(1, MAX_MEMBERS).map(lambda n: [1.0] * n),
        st.floats(1e-6, 1e6),
        st.integers(0, 2**32),
    )
    @settings(max_examples=60, deadline=None)
    def test_the_mean_is_off_by_less_than_the_bound(self, scales: list[float], reach: float, number: int) -> None:
        """At most (K/2 + 1) 2^-19 of the range, also where every entry lies between two points."""
        made = codec(6, members(*scales), reach=reach)
        assert isinstance(made.grid, PlainGrid)
        random = np.random.default_rng(number)
        vectors = random.uniform(-reach, reach, (len(scales), 6))
        vectors[:, 0], vectors[:, 1] = reach, -reach
        for index, scale in enumerate(scales):
            between = (random.integers(0, max(1, made.grid.limits[index])) + 0.5) * made.grid.step / scale
            vectors[index, 2] = min(between, reach)
        total = np.sum([made.quantise(v, i).points for i, v in enumerate(vectors)], axis=0)
        assert np.max(np.abs(total)) <= CAPACITY
        exact = np.array(scales) @ vectors / math.fsum(scales)
        bound = (len(scales) / 2 + 1) * 2.0**-19 * (2 * reach)
        assert np.max(np.abs(made.mean(total, math.fsum(scales)) - exact)) <= bound * (1 + 1e-12)

    def test_ten_participants_are_within_a_hundred_thousandth_of_the_range(self) -> None:
        grid = plain(members(*[1.0] * 10), 1.0)
        assert grid.step / 2 <= 1e-5 * 2

    def test_the_bound_holds_for_every_number_of_participants(self) -> None:
        for count in range(1, MAX_MEMBERS + 1):
            slack = Fraction(min(8, count), 2)
            error = (Fraction(count, 2) + slack**2 / (4 * count)) / (CAPACITY - Fraction(count, 2) + slack)
            assert error * (1 + Fraction(1, 2**39)) <= Fraction(count + 2, 2**19)

    @given(st.lists(SCALES, min_size=1, max_size=300))
    @settings(max_examples=100, deadline=None)
    def test_no_sum_is_beyond_the_lanes(self, scales: list[float]) -> None:
        grid = plain(members(*scales), 1.0)
        assert sum(grid.limits) <= CAPACITY
        assert min(grid.limits) >= 0

    @pytest.mark.parametrize("count", [2, 3, 255, 1000, 1023, 1024])
    def test_equal_participants_at_the_end_of_the_range(self, count: int) -> None:
        grid = plain(members(*[1.0] * count), 1.0)
        assert sum(grid.limits) <= CAPACITY
        short = sum(1.0 / grid.step - limit for limit in grid.limits) * grid.step / count
        assert short <= (count / 2 + 1) * 2.0**-18

    def test_what_is_beyond_the_range_is_cut_and_carried(self) -> None:
        made, vector = codec(5, reach=0.5), np.array([0.1, 2.0, -3.0, 0.5, 0.0])
        sent = made.quantise(vector, 0)
        assert sent.carried is not None
        assert sent.carried == pytest.approx([0, 1.5, -2.5, 0, 0], abs=1e-5)
        again = made.quantise(np.zeros(5), 0, carried=sent.carried)
        assert made.mean(sent.points + again.points, 1.0) == pytest.approx([0.1, 1.0, -1.0, 0.5, 0], abs=1e-5)
        whole, left = np.zeros(5), None
        for _ in range(8):
            quantised = made.quantise(vector if left is None else np.zeros(5), 0, carried=left)
            whole, left = whole + made.mean(quantised.points, 1.0), quantised.carried
        assert whole == pytest.approx(vector, abs=1e-5)

    def test_a_missing_participant_changes_the_denominator_alone(self) -> None:
        made = codec(5, members(1.0, 0.5, 0.25))
        vectors = [update(5, 0.9, number) for number in range(3)]
        total = made.quantise(vectors[0], 0).points + made.quantise(vectors[2], 2).points
        expected = (vectors[0] + 0.25 * vectors[2]) / 1.25
        assert made.mean(total, 1.25) == pytest.approx(expected, abs=1e-5)

    def test_everybody_sends_the_same_entries_of_random_k(self) -> None:
        made = codec(200, compression=compression(fraction="0.1"))
        vectors = [update(200, 1.0, number) for number in range(3)]
        sent = [made.quantise(v, i) for i, v in enumerate(vectors)]
        assert made.kept == len(sent[0].points) == 20
        mean = made.mean(np.sum([each.points for each in sent], axis=0), 3.0)
        chosen = np.flatnonzero(mean)
        assert len(chosen) <= 20
        assert mean[chosen] == pytest.approx(10 * np.mean(vectors, axis=0)[chosen], abs=1e-3)
        assert not np.array_equal(mean, codec(200, compression=compression(fraction="0.1"), number=2).mean(
            np.sum([each.points for each in sent], axis=0), 3.0))  # fmt: skip
        assert sent[0].carried is not None
        assert np.max(np.abs(sent[0].carried)) <= 1e-5, "what the mask leaves out is not carried"

    def test_error_feedback_carries_what_the_mask_leaves_out(self) -> None:
        made = codec(200, compression=compression(fraction="0.1", feedback=True))
        vector = update(200, 1.0)
        sent = made.quantise(vector, 0)
        assert made.amplification == 1.0
        assert sent.carried is not None
        assert made.mean(sent.points, 1.0) + sent.carried == pytest.approx(vector, abs=1e-12)


# --- with differential privacy ---------------------------------------------------------------------------------------


def fine(made: SumCodec, vector: Vector, member: int) -> Vector:
    """The points before the noise, on the fine grid."""
    assert isinstance(made.grid, PrivateGrid)
    return _fine_points(vector, made.members[member][0], made.grid, member)[0]


def distance(left: Vector, right: Vector) -> Fraction:
    """Squared, without rounding."""
    squares = ((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(left, right, strict=True))
    return sum(squares, Fraction(0))


class TestSensitivity:
    @given(st.data())
    @settings(max_examples=150, deadline=None)
    def test_one_record_moves_the_fine_points_by_at_most_the_sensitivity(self, data: st.DataObject) -> None:
        """Neighbours at rounding boundaries, on the box's edge and beyond the ball, at any scale."""
        scale, size = data.draw(SCALES), data.draw(st.integers(1, 12))
        clip = data.draw(st.sampled_from(["0.01", "1.0", "40.0"]))
        noise = data.draw(st.floats(0.3, 40.0))
        among = members(scale, 1.0, 0.3, batch=20)
        made = codec(size, among, plan=distributed("Record", noise, clip=clip, batch=20))
        assert isinstance(made.grid, PrivateGrid)
        unit = made.grid.step / 2.0**made.grid.fine / scale
        random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
        length = data.draw(st.sampled_from([0.0, 0.5, 1.0, 25.0, 1e6])) * float(clip)
        base = random.normal(size=size) * length
        if data.draw(st.booleans()):
            base = (np.rint(base / unit) + 0.5 - 1e-9) * unit  # the least push rounds every entry up
        record = np.full(size, 1.0) if data.draw(st.booleans()) else random.normal(size=size)
        record *= float(clip) / np.linalg.norm(record)
        moved = distance(fine(made, base + record, 0), fine(made, base, 0))
        assert moved <= Fraction(made.grid.fine_sensitivity) ** 2

    @given(st.data())
    @settings(max_examples=100, deadline=None)
    def test_another_silo_moves_them_by_at_most_the_sensitivity(self, data: st.DataObject) -> None:
        scale, size = data.draw(SCALES), data.draw(st.integers(1, 12))
        made = codec(size, members(scale, 1.0), plan=distributed("Silo", data.draw(st.floats(0.3, 40)), quorum=2))
        assert isinstance(made.grid, PrivateGrid)
        random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
        direction = random.normal(size=size) * data.draw(st.sampled_from([0.0, 1e-6, 1.0, 1e200]))
        other = -direction if data.draw(st.booleans()) else random.normal(size=size)
        moved = distance(fine(made, direction, 0), fine(made, other, 0))
        assert moved <= Fraction(made.grid.fine_sensitivity) ** 2

    def test_a_record_that_pushes_every_entry_over_a_boundary_uses_it_up(self) -> None:
        made = codec(10_000, members(1.0, 1.0, 1.0, batch=20), plan=distributed("Record", 50.0, batch=20))
        assert isinstance(made.grid, PrivateGrid)
        unit = made.grid.step / 2.0**made.grid.fine
        one = math.floor(made.grid.fine_radius / 100) + 2e-4  # of all entries: at most the clip
        base = np.full(10_000, 1000.5 - 1e-4)
        moved = math.sqrt(distance(fine(made, (base + one) * unit, 0), fine(made, base * unit, 0)))
        assert made.grid.fine_radius * (1 + FLOAT_MARGIN) < moved <= made.grid.fine_sensitivity, "sqrt(k) is needed"
        assert made.grid.inflation < 1.02, "and is little on the fine grid"

    def test_silos_whose_entries_all_round_outwards_use_it_up(self) -> None:
        for lanes in range(9000, 12000, 7):
            made = codec(lanes, plan=distributed("Silo", 50.0))
            assert isinstance(made.grid, PrivateGrid)
            entry = made.grid.fine_radius / math.sqrt(lanes)
            if 0.51 < entry % 1 < 0.6:
                break
        else:
            pytest.fail("no such grid")
        far = np.full(lanes, (math.floor(entry) + 0.501) * made.grid.step / 2.0**made.grid.fine)
        moved = math.sqrt(distance(fine(made, far, 0), fine(made, -far, 0)))
        assert 2 * made.grid.fine_radius < moved <= made.grid.fine_sensitivity

    @pytest.mark.parametrize("unit", ["Record", "Silo"])
    @pytest.mark.parametrize(("quorum", "colluding"), [(3, 0), (7, 2), (2, 0)])
    def test_the_shares_of_the_calibration_have_the_plans_noise(self, unit: Unit, quorum: int, colluding: int) -> None:
        wanted = distributed(unit, 1.5, quorum=quorum, colluding=colluding)
        made = codec(100, members(*[1.0] * 7, batch=50 if unit == "Record" else None), plan=wanted)
        assert isinstance(made.grid, PrivateGrid)
        whole = made.grid.fine_sigma * math.sqrt(quorum - colluding)
        assert whole >= 1.5 * made.grid.fine_sensitivity
        assert whole == pytest.approx(1.5 * made.grid.fine_sensitivity, rel=1e-12)
        assert made.grid.sigma == made.grid.fine_sigma / 2**made.grid.fine >= MIN_SHARE_STEPS

    @given(st.integers(1, 60), st.floats(0.2, 50), st.integers(1, 10_000_000), st.sampled_from(["Record", "Silo"]))
    @settings(max_examples=200, deadline=None)
    def test_any_grid_has_shares_of_eight_steps_and_never_wraps(
        self, count: int, noise: float, lanes: int, unit: Unit
    ) -> None:
        among = members(*[1.0 - 0.5 * (i % 2) for i in range(count)], batch=500 if unit == "Record" else None)
        demand = SumDemand(unit, 1.0, noise, max(1, count - 1), lanes, 400, among)
        try:
            grid = private(demand)
        except GridTooCoarseError:
            assume(False)
            return
        assert grid.sigma >= MIN_SHARE_STEPS
        tail = math.sqrt(2 * math.log(2 * lanes * 400 / 1e-6))
        assert sum(grid.bounds) + count + tail * math.sqrt(count) * grid.sigma <= CAPACITY * (1 + 1e-12)
        assert all(bound <= ball for bound, ball in zip(grid.bounds, grid.balls, strict=True))
        assert grid.inflation <= 1.25


class TestRefused:
    def test_a_share_under_eight_steps(self) -> None:
        with pytest.raises(GridTooCoarseError, match=r"needs 8: use more noise .* or mechanism Local"):
            codec(1000, members(*[1.0] * 1000), plan=distributed("Silo", 0.1, quorum=1000))
        with pytest.raises(GridTooCoarseError, match="needs 8"):
            codec(1000, members(*[1.0] * 1000, batch=500), plan=distributed("Record", 0.001, quorum=900))

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"reach": None}, "range"),
            ({"reach": 0.0}, "range"),
            ({"among": members(1.0, 1.5)}, "scale"),
            ({"among": members(*[1.0] * 1025)}, "1025"),
            ({"compression": compression(8)}, "quantizationBits"),
            ({"plan": distributed("Silo", 1.0), "number": 2}, "round 2"),
            (
                {"plan": distributed("Record", 1.0), "compression": compression(fraction="0.5", feedback=True)},
                "error feedback",
            ),
        ],
    )
    def test_what_cannot_be(self, changes: dict[str, Any], said: str) -> None:
        with pytest.raises(CodecError, match=said):
            codec(**changes)

    def test_vectors_that_cannot_be_sent(self) -> None:
        made, private_one = codec(4), codec(4, plan=distributed("Silo", 1.0))
        for bad, error in (
            (np.array([0, np.nan, 0, 0]), NotFiniteError),
            (np.array([0, np.inf, 0, 0]), NotFiniteError),
            (np.zeros(5), CodecError),
        ):
            with pytest.raises(error):
                made.quantise(bad, 0)
        with pytest.raises(CodecError):
            made.quantise(np.zeros(4), 3)
        with pytest.raises(NoiseMissingError):
            private_one.quantise(np.zeros(4), 0)
        with pytest.raises(NoiseMissingError):
            made.quantise(np.zeros(4), 0, ReleaseNoise())

    def test_sums_that_cannot_be(self) -> None:
        made = codec(4)
        sums: list[NDArray[Any]] = [np.zeros(5, np.int64), np.zeros(4), np.full(4, CAPACITY + 1)]
        for bad in sums:
            with pytest.raises(MessageError):
                made.mean(bad, 1.0)
        with pytest.raises(MessageError):
            made.mean(np.zeros(4, np.int64), 0.0)


class TestNoise:
    @pytest.mark.parametrize("unit", ["Record", "Silo"])
    def test_without_noise_the_sum_is_the_clipped_one(self, unit: Unit) -> None:
        among = members(1.0, 0.5, 0.25, batch=50 if unit == "Record" else None)
        made = codec(300, among, plan=distributed(unit, 1.0))
        vectors = [update(300, 0.7, 0), update(300, 0.4, 1), update(300, 9.0, 2)]
        total = np.sum([made.quantise(v, i, ReleaseNoise(NoNoise())).points for i, v in enumerate(vectors)], axis=0)
        last = vectors[2] / 9 if unit == "Silo" else vectors[2]
        expected = (vectors[0] + 0.5 * vectors[1] + 0.25 * last) / 5
        assert made.mean(total, 5.0) == pytest.approx(expected, abs=2 * made.grid.step / 5)

    def test_the_sum_has_the_noise_of_all_shares(self) -> None:
        made = codec(20_000, plan=distributed("Silo", 1.0))
        assert isinstance(made.grid, PrivateGrid)
        total = np.sum(
            [made.quantise(np.zeros(20_000), i, ReleaseNoise(fixed(f"share {i}"))).points for i in range(3)], axis=0
        )
        assert np.std(total) == pytest.approx(math.sqrt(3) * made.grid.sigma, rel=0.03)
        assert np.std(made.mean(total, 3.0)) * 3 == pytest.approx(2.0, rel=0.03), "z times the diameter of the clip"

    def test_a_round_with_less_noise_has_less(self) -> None:
        first, second = (codec(50, plan=distributed("Silo", 2.0, 1.0), number=n) for n in (1, 2))
        assert isinstance(first.grid, PrivateGrid)
        assert isinstance(second.grid, PrivateGrid)
        assert first.grid.sigma * first.grid.step == pytest.approx(2 * second.grid.sigma * second.grid.step, rel=0.01)

    def test_what_feedback_carries_is_free_of_noise(self) -> None:
        fields = {"plan": distributed("Silo", 1.0), "compression": compression(fraction="0.5", feedback=True)}
        made, vector = codec(40, **fields), update(40, 0.5)
        carried = [made.quantise(vector, 0, ReleaseNoise(fixed(name))).carried for name in ("one", "two")]
        assert carried[0] is not None
        assert carried[1] is not None
        assert np.array_equal(carried[0], carried[1])
        assert codec(40, plan=distributed("Silo", 1.0)).quantise(vector, 0, ReleaseNoise()).carried is None

    def test_the_whole_plan_is_checked_before_round_one(self) -> None:
        among = members(1.0, 1.0, 1.0)
        wanted = distributed("Silo", 1.0, 0.5, 2.0)
        assert 0 < check_rounds(layout(40), among, wanted, None, 8.0) < 1e-9 * 1e-5
        with pytest.raises(SamplerDeltaError):
            check_rounds(layout(40), among, wanted, None, 700.0)
        with pytest.raises(GridTooCoarseError):
            check_rounds(layout(40), members(*[1.0] * 1000), distributed("Silo", 30.0, 0.1, quorum=900), None, 3.0)

    def test_what_the_gate_alone_hides(self) -> None:
        made = codec(9, members(1.0, 0.5, batch=50), plan=distributed("Record", 1.0, quorum=2, batch=50))
        assert isinstance(made.grid, PrivateGrid)
        far = np.full(9, 1e9)
        for member in range(2):
            apart = math.sqrt(distance(fine(made, far, member), fine(made, -far, member)))
            assert made.grid.fine_sigma / apart >= made.grid.enforced_multiplier(member)
            assert made.grid.fine_sigma / apart == pytest.approx(made.grid.enforced_multiplier(member), rel=0.05)
