"""The second accountant: it must agree before anything starts, and its PLD must bound the discrete mechanism."""

import math
import subprocess
import sys
from itertools import product

import pytest
from mpmath import mp, mpf

from hanse.api.privacy import PrivacyPlan, ReleaseKind, Schedule, ScheduleKind, Slot
from hanse.dp import AccountantsDisagree, TooCoarse, UnknownRelease, epsilon, plan_rdp, pld_epsilon
from hanse.dp.rdp import subsampled_gaussian
from hanse.dp.reference import MIN_GRID_SIGMA, ROUNDING, check, event_rdp, release_event

from .plans import DELTA, SHARES, plan, with_noise
from .test_rdp import discrete

H = 1.1e-34


class TestAgreement:
    @pytest.mark.parametrize("unit", ["Silo", "Record"])
    def test_a_whole_plan_costs_the_same_by_both(self, unit: str) -> None:
        from dp_accounting import ComposedDpEvent

        made = plan(unit, 12, max_attempts=2, schedule=Schedule(kind="Geometric", final_ratio="0.5"), **SHARES)
        events = [release_event(made, slot) for slot in made.slots()]
        assert plan_rdp(made) == pytest.approx(event_rdp(ComposedDpEvent(events)), rel=1e-9)

    @pytest.mark.parametrize("kind", ["Constant", "Linear"])
    def test_where_they_differ_nothing_starts(self, kind: ScheduleKind, monkeypatch: pytest.MonkeyPatch) -> None:
        schedule = Schedule(kind=kind, final_ratio="0.5" if kind == "Linear" else None)
        made = plan("Record", 40, schedule=schedule)
        check(made)
        monkeypatch.setattr(
            "hanse.dp.plan.subsampled_gaussian", lambda rate, noise: subsampled_gaussian(rate * (1 - 1e-7), noise)
        )
        with pytest.raises(AccountantsDisagree):
            check(made)
        with pytest.raises(AccountantsDisagree):
            plan("Record", 40, schedule=schedule, clip="2")  # another job: what was resolved once stays

    def test_an_event_that_is_not_known_is_refused(self) -> None:
        from dp_accounting import PoissonSampledDpEvent, UnsupportedDpEvent
        from dp_accounting.dp_event import LaplaceDpEvent

        for event in (UnsupportedDpEvent(), PoissonSampledDpEvent(0.1, LaplaceDpEvent(1.0))):
            with pytest.raises(UnknownRelease):
                event_rdp(event)

    def test_a_release_that_is_not_paid_has_no_event(self) -> None:
        with pytest.raises(UnknownRelease):
            release_event(plan("Silo", 3), Slot(ReleaseKind.TRAIN, 4, 1))


def hockey_stick(p: dict[tuple[int, ...], float], q: dict[tuple[int, ...], float], limit: float) -> float:
    """delta of (limit, delta) between two laws, exactly."""
    return math.fsum(max(0.0, chance - math.exp(limit) * q.get(key, 0.0)) for key, chance in p.items())


def law_of(sigma: float, shift: tuple[int, ...]) -> dict[tuple[int, ...], float]:
    """The discrete Gaussian in len(shift) dimensions around shift, cut at 7 deviations to stay small."""
    law = {k: chance for k, chance in discrete(sigma).items() if abs(k) <= 7 * sigma}
    axes = [[(k + by, chance) for k, chance in law.items()] for by in shift]
    return {tuple(k for k, _ in point): math.prod(chance for _, chance in point) for point in product(*axes)}


class TestPld:
    @pytest.mark.parametrize(
        ("sigma", "shift"), [(6.0, (5,)), (20.0, (20,)), (4.0, (4,)), (5.0, (3, 4)), (6.0, (5, 0))]
    )
    def test_it_bounds_the_exact_discrete_mechanism(self, sigma: float, shift: tuple[int, ...]) -> None:
        """One release, its neighbour moved by an integer vector."""
        made = plan("Silo", 1, noise_multiplier=repr(sigma / math.hypot(*shift)))
        claim = pld_epsilon(made, with_noise(made.slots(), sigma), len(shift))
        exact = hockey_stick(law_of(sigma, shift), law_of(sigma, (0,) * len(shift)), claim)
        assert 0 < exact <= DELTA

    def test_it_bounds_the_exact_poisson_sampled_one(self) -> None:
        sigma, rate = 8.0, 0.2
        made = plan("Record", 1, noise_multiplier="1", sample_rate=str(rate))
        claim = pld_epsilon(made, with_noise(made.slots(), sigma), 1)
        zero, one = law_of(sigma, (0,)), law_of(sigma, (8,))
        mixed = {k: (1 - rate) * zero.get(k, 0.0) + rate * one.get(k, 0.0) for k in {*zero, *one}}
        assert hockey_stick(mixed, zero, claim) <= DELTA
        assert hockey_stick(zero, mixed, claim) <= DELTA

    @pytest.mark.parametrize("at", ["0", "0.1", "0.25", "0.5", "0.777"])
    def test_the_rounding_weights_are_as_even_as_the_bound_says(self, at: str) -> None:
        """The lemma that carries the proof: the sum over the integers does not depend on x."""
        with mp.workdps(60):
            weights = mp.nsum(lambda k: mp.exp(-((k - mpf(at)) ** 2) / (2 * mpf(ROUNDING) ** 2)), [-60, 60])
            assert abs(weights / (mp.sqrt(2 * mp.pi) * ROUNDING) - 1) <= H

    @pytest.mark.parametrize("y", [0, 3, 11])
    def test_rounding_a_gaussian_gives_the_discrete_one(self, y: int) -> None:
        """The whole claim: the rounded law at y over the discrete Gaussian's. The trapezoids' error is far below H."""
        with mp.workdps(50):
            sigma, rounding = mpf(5), mpf(ROUNDING)
            s1 = mp.sqrt(sigma**2 - rounding**2)
            near = range(-40, 41)
            weights = [
                mp.fsum(mp.exp(-((k - mpf(part) / 8) ** 2) / (2 * rounding**2)) for k in near) for part in range(8)
            ]
            points = ((mpf(step) / 8, weights[step % 8]) for step in range(-8 * 60, 8 * 60 + 1))
            rounded = mp.fsum(
                mp.npdf(x, 0, s1) * mp.exp(-((y - x) ** 2) / (2 * rounding**2)) / weight / 8 for x, weight in points
            )
            total = mp.fsum(mp.exp(-(mpf(k) ** 2) / (2 * sigma**2)) for k in range(-90, 91))
            assert abs(rounded / (mp.exp(-(mpf(y) ** 2) / (2 * sigma**2)) / total) - 1) < 3 * H

    @pytest.mark.parametrize("unit", ["Silo", "Record"])
    def test_it_is_tighter_than_rdp_and_near(self, unit: str) -> None:
        made = plan(unit, 50, **SHARES)
        figure = pld_epsilon(made, with_noise(made.slots(), 1000.0), 10**9)
        assert 0.8 * 3 < figure < epsilon(plan_rdp(made), DELTA)

    def test_fewer_releases_and_finer_grids_cost_less(self) -> None:
        made = plan("Silo", 6)
        whole = pld_epsilon(made, with_noise(made.slots(), 100.0), 1000)
        assert pld_epsilon(made, with_noise(made.slots()[:3], 100.0), 1000) < whole
        assert pld_epsilon(made, with_noise(made.slots(), 10000.0), 1000) < whole

    def test_coarse_counts_do_not_make_the_updates_coarse(self) -> None:
        """Sixty fine updates and one evaluation in counts: only the evaluation pays for its few steps."""
        made = plan("Silo", 60, evaluation={"epsilon_share": "0.2", "every_rounds": 60})
        releases = [(slot, 5.0 if slot.kind is ReleaseKind.EVALUATE else 1e4) for slot in made.slots()]
        figure = pld_epsilon(made, releases, 10**4)
        assert figure < epsilon(plan_rdp(made), DELTA) < pld_epsilon(made, with_noise(made.slots(), 5.0), 10**4)

    def test_where_the_bound_does_not_hold_there_is_no_figure(self) -> None:
        made = plan("Silo", 1)
        with pytest.raises(TooCoarse):
            pld_epsilon(made, with_noise(made.slots(), MIN_GRID_SIGMA - 0.01), 10)

    def test_a_slot_twice_is_refused(self) -> None:
        made = plan("Silo", 1)
        with pytest.raises(UnknownRelease):
            pld_epsilon(made, with_noise(made.slots() * 2, 100.0), 10)


LIGHT = """
import sys
import hanse.dp as dp
from hanse.api.privacy import PrivacyPlan
assert "numpy" not in sys.modules, "importing hanse.dp"
plan = PrivacyPlan.model_validate_json(sys.argv[1])
dp.epsilon(dp.plan_rdp(plan), 1e-5)
dp.left_epsilon(dp.plan_rdp(plan), 5.0, 1e-5)
assert not {"scipy", "dp_accounting"} & set(sys.modules), "what a ledger does at every turn"
"""


def test_the_operators_every_turn_does_without_scipy() -> None:
    made: PrivacyPlan = plan("Record", 5)
    subprocess.run([sys.executable, "-c", LIGHT, made.model_dump_json()], check=True)
