"""Distributed noise: how many shares count against whom, and that a sum of shares costs what is claimed, exactly."""

import math
from itertools import product
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hanse.api.certificate import CertifiedRelease
from hanse.api.privacy import Adversary, PrivacyPlan, ReleaseKind, Schedule, Slot
from hanse.dp import (
    MIN_SHARE_STEPS,
    ORDERS,
    AccountantsDisagree,
    UnknownRelease,
    compose,
    epsilon,
    epsilons,
    plan_rdp,
    pld_epsilon,
    release_rdp,
    resolve,
    sums_rdp,
    unknown_shares,
)
from hanse.dp.certified import figures, groups
from hanse.dp.rdp import gaussian, subsampled_gaussian
from hanse.dp.reference import check
from hanse.dp.shares import sum_shares, sum_term, tau
from hanse.dp.worst import worst_epsilons

from .plans import DELTA, SHARES, asked, with_noise
from .test_rdp import discrete, divergence

Law = NDArray[np.float64]


def plan(unit: str = "Record", rounds: int = 10, quorum: int = 3, colluding: int = 0, **fields: object) -> PrivacyPlan:
    """A resolved plan with distributed noise; epsilon 3 unless told."""
    if "noise_multiplier" not in fields:
        fields.setdefault("epsilon", "3")
    wanted = asked(unit, mechanism="Distributed", **fields)
    return resolve(wanted, rounds, 8000, quorum=quorum, collusion_threshold=colluding)


class TestWhoKnowsWhat:
    @pytest.mark.parametrize(
        ("adversary", "shared", "threshold"),
        [("Outsiders", 5, 5), ("OneParticipant", 1, 4), ("CollusionThreshold", 1, 3), ("ServerAndOne", 1, 3)],
    )
    def test_who_holds_the_key_sees_one_share_alone(self, adversary: Adversary, shared: int, threshold: int) -> None:
        made = plan(quorum=5, colluding=2)
        assert made.shares == 3
        assert unknown_shares(made, adversary) == shared
        assert unknown_shares(made, adversary, "Threshold") == threshold
        expected = subsampled_gaussian(0.05, float(made.noise_multipliers[0]) * math.sqrt(shared / 3))
        assert release_rdp(made, ReleaseKind.TRAIN, 1, adversary) == pytest.approx(expected, rel=1e-12)

    def test_nobody_colludes_with_a_threshold_of_zero(self) -> None:
        made = plan(quorum=4)
        found = {each: unknown_shares(made, each) for each in epsilons(made, [])}
        assert found == {"Outsiders": 4, "OneParticipant": 3, "CollusionThreshold": 4, "ServerAndOne": 1}
        # One helps the server all the same.
        assert (
            unknown_shares(made, "ServerAndOne", "Threshold")
            == unknown_shares(made, "OneParticipant", "Threshold")
            == 3
        )

    @pytest.mark.parametrize(
        ("quorum", "colluding", "one", "threshold"),
        [
            (2, 0, 1, 2),
            (3, 0, 2, 3),
            (3, 1, 1, 1),
            (4, 1, 3, 3),
            (6, 1, 5, 5),
            (5, 2, 1, 1),
            (6, 2, 5, 1),
            (9, 3, 8, 1),
        ],
    )
    def test_one_gate_reads_no_update_where_halves_are_kept_apart(
        self, quorum: int, colluding: int, one: int, threshold: int
    ) -> None:
        """One subtracts its own share from sums; two may have both halves, as may one where verifiers are too few."""
        made = plan(quorum=quorum, colluding=colluding)
        assert unknown_shares(made, "OneParticipant") == one
        assert unknown_shares(made, "CollusionThreshold") == threshold
        assert unknown_shares(made, "ServerAndOne") == 1

    def test_local_noise_is_one_share_for_everybody(self) -> None:
        local = resolve(asked("Silo", epsilon="1"), 3, None)
        assert {unknown_shares(local, each) for each in epsilons(local, [])} == {1}
        assert len(set(epsilons(local, local.slots()).values())) == 1
        assert groups(local) == {1: ["Outsiders", "OneParticipant", "CollusionThreshold", "ServerAndOne"]}

    @pytest.mark.parametrize(("quorum", "colluding"), [(None, 0), (3, 2), (3, None), (2, -1), (2000, 0)])
    def test_noise_that_nobody_can_count_on_is_refused(self, quorum: int | None, colluding: int | None) -> None:
        broken = plan().model_copy(update={"quorum": quorum, "collusion_threshold": colluding})
        for adversary in get_args(Adversary):
            with pytest.raises(UnknownRelease):
                release_rdp(broken, ReleaseKind.TRAIN, 1, adversary)
        with pytest.raises(UnknownRelease):
            resolve(asked("Silo", epsilon="1", mechanism="Distributed"), 3, None)


class TestResolve:
    @pytest.mark.parametrize("unit", ["Record", "Silo"])
    @pytest.mark.parametrize("colluding", [0, 2])
    def test_sums_have_the_epsilon_that_was_asked(self, unit: str, colluding: int) -> None:
        made = plan(unit, 12, 5, colluding, **SHARES, schedule=Schedule(kind="Linear", final_ratio="0.5"))
        found = epsilons(made, made.slots())
        assert 3 - 1e-4 <= epsilon(sums_rdp(made), DELTA) <= 3
        if colluding == 0:
            assert found["Outsiders"] == found["CollusionThreshold"] == epsilon(sums_rdp(made), DELTA)
        else:
            assert found["Outsiders"] < epsilon(sums_rdp(made), DELTA), "all of the quorum add noise"
            assert found["CollusionThreshold"] == found["ServerAndOne"]
        if colluding == 0:
            assert 3 < found["OneParticipant"] < found["ServerAndOne"], "four shares, and one"
        else:
            assert found["OneParticipant"] == found["ServerAndOne"] > 3
        assert epsilon(plan_rdp(made), DELTA) == found[made.adversary] == found["ServerAndOne"]

    def test_the_worst_case_says_what_was_asked_where_it_is_met(self) -> None:
        made = plan(rounds=12)
        worst = worst_epsilons(made)
        assert worst["Outsiders"] == worst["CollusionThreshold"] == 3
        assert worst["ServerAndOne"] == epsilons(made, made.slots())["ServerAndOne"]
        four = worst_epsilons(plan(rounds=12, quorum=4, colluding=1))
        assert four["CollusionThreshold"] == four["OneParticipant"] == 3 > four["Outsiders"]
        assert worst_epsilons(plan(rounds=12, quorum=3, colluding=1))["CollusionThreshold"] > 3

    def test_the_whole_noise_is_that_of_local_noise(self) -> None:
        local = resolve(asked("Record", epsilon="3"), 40, 8000)
        assert plan(rounds=40).noise_multipliers == local.noise_multipliers

    def test_noise_that_was_asked_is_the_noise_of_the_sum(self) -> None:
        made = plan("Silo", 1, noise_multiplier="2")
        assert [float(noise) for noise in made.noise_multipliers] == [2.0]
        assert float(made.epsilon) == pytest.approx(epsilon(gaussian(2.0), DELTA), abs=1e-6)

    def test_histograms_carry_the_whole_noise_of_each_gate(self) -> None:
        made = plan(**SHARES)
        for kind, number in ((ReleaseKind.STATISTICS, 0), (ReleaseKind.EVALUATE, 3)):
            costs = {release_rdp(made, kind, number, adversary) for adversary in epsilons(made, [])}
            assert len(costs) == 1

    def test_three_shares_of_epsilon_three(self) -> None:
        """400 rounds at rate .05: 7.68 as charged (RDP); noise found by PLD for 3 gives 7.65 by PLD, as measured."""
        made = plan(rounds=400)
        assert epsilons(made, made.slots())["ServerAndOne"] == pytest.approx(7.68, abs=0.005)
        found = plan(rounds=400, noise_multiplier="1.620752")
        by_pld = [
            pld_epsilon(found, with_noise(found.slots(), 1e4), 1000, adversary)
            for adversary in ("Outsiders", "ServerAndOne")
        ]
        assert by_pld == pytest.approx([3.0, 7.65], abs=0.02)

    def test_the_budget_is_charged_for_the_adversary_of_the_plan(self) -> None:
        made = plan()
        charged = {each: plan_rdp(made.for_owner(8000, each)) for each in epsilons(made, [])}
        assert charged["Outsiders"] == plan_rdp(made, adversary="Outsiders") < charged["ServerAndOne"]


class TestSecondAccountant:
    def test_it_is_asked_about_every_adversary(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = plan(rounds=40, quorum=4, colluding=2)
        check(made)
        honest = sum_shares(made)
        monkeypatch.setattr("hanse.dp.plan.sum_shares", lambda plan: honest * 1.001)
        with pytest.raises(AccountantsDisagree):
            check(made)

    @pytest.mark.parametrize("wrong", [1, 4])
    def test_one_wrong_group_is_enough(self, wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
        made = plan(rounds=40, quorum=4, colluding=2)

        def of(plan: PrivacyPlan, adversary: Adversary) -> int:
            shares = unknown_shares(plan, adversary)
            return 2 if shares == wrong else shares

        monkeypatch.setattr("hanse.dp.plan.unknown_shares", of)
        with pytest.raises(AccountantsDisagree):
            check(made)


def shared(steps: float, fine: int, data: tuple[int, ...]) -> dict[tuple[int, ...], float]:
    """The exact law of (remainders but the first, fine sum), by definition."""
    law = discrete(steps * fine)
    reach = max(law)
    values = np.arange(-reach, reach + 1)
    chances = np.array([law[int(value)] for value in values])
    joint: dict[tuple[int, ...], Law] = {(): chances}
    first = data[0] - reach  # of the sum's axis
    for by in data[1:]:
        following: dict[tuple[int, ...], Law] = {}
        for remainders, along in joint.items():
            for remainder in range(fine):
                kept = np.where((values + by - remainder) % fine == 0, chances, 0.0)
                following[*remainders, remainder] = np.convolve(along, kept)
        joint, first = following, first + by - reach
    found: dict[tuple[int, ...], float] = {}
    for remainders, along in joint.items():
        found |= {(*remainders, first + index): float(chance) for index, chance in enumerate(along)}
    return found


class TestLemma:
    @pytest.mark.parametrize(("steps", "fine", "data"), [
        (0.5, 1, (0, 0)), (0.7, 1, (1, 0, 0, -2)), (0.6, 2, (3, -1)), (0.7, 4, (1, 2, -5)), (1.0, 3, (0, 1, 1)),
    ])  # fmt: skip
    def test_the_joint_law_is_within_tau_of_one_gaussian_and_uniform_remainders(
        self, steps: float, fine: int, data: tuple[int, ...]
    ) -> None:
        count = len(data)
        one = discrete(steps * fine * math.sqrt(count))
        total = sum(data)
        worst = 0.0
        for (*_, w), chance in shared(steps, fine, data).items():
            if abs(w - total) <= 4 * steps * fine * math.sqrt(count):  # further out the sums here are cut off
                worst = max(worst, abs(math.log(chance * fine ** (count - 1) / one[w - total])))
        assert worst <= tau(count, steps) + 1e-9
        assert worst >= tau(count, steps) / 100, "the bound is about this"

    @pytest.mark.parametrize("rate", [1.0, 0.3])
    @pytest.mark.parametrize(("steps", "fine", "shift"), [(0.8, 4, 3), (1.0, 2, 2), (1.0, 4, 1)])
    def test_rounded_shares_cost_at_most_what_is_claimed(
        self, rate: float, steps: float, fine: int, shift: int
    ) -> None:
        """What leaves is the sum of three rounded shares; a record moves one of them by `shift` fine steps."""

        def released(data: int) -> dict[int, float]:
            law = {value + data: chance for value, chance in discrete(steps * fine).items()}
            rounded: dict[int, float] = {}
            for value, chance in law.items():
                point = math.floor(value / fine + 0.5)
                rounded[point] = rounded.get(point, 0.0) + chance
            return rounded

        def add(left: dict[int, float], right: dict[int, float]) -> dict[int, float]:
            made: dict[int, float] = {}
            for (a, p), (b, q) in product(left.items(), right.items()):
                made[a + b] = made.get(a + b, 0.0) + p * q
            return made

        others = add(released(1), released(-2))
        without, present = add(others, released(0)), add(others, released(shift))
        sampled = {k: (1 - rate) * without.get(k, 0.0) + rate * present.get(k, 0.0) for k in {*without, *present}}
        noise = steps * fine * math.sqrt(3) / shift
        for index, order in enumerate(ORDERS[:4]):
            claim = subsampled_gaussian(rate, noise)[index] + (2 * order - 1) / (order - 1) * tau(3, steps)
            inside = {k: p for k, p in sampled.items() if without.get(k, 0.0) > 0 and p > 0}
            assert divergence(inside, without, order) <= claim
            assert divergence({k: without[k] for k in inside}, inside, order) <= claim

    @given(st.integers(2, 1024))
    @settings(max_examples=30, deadline=None)
    def test_at_eight_steps_the_extra_term_is_nothing_but_not_left_out(self, shares: int) -> None:
        assert 0 < tau(shares, MIN_SHARE_STEPS) < 1e-270
        assert all(0 < term < 1e-250 for term in sum_term(shares))
        assert sum_term(shares) == tuple((2 * a - 1) / (a - 1) * 2**30 * tau(shares) for a in ORDERS)

    def test_it_is_in_the_sum_of_a_release(self, monkeypatch: pytest.MonkeyPatch) -> None:
        term = tuple(0.01 * order for order in ORDERS)
        monkeypatch.setattr("hanse.dp.plan.sum_term", lambda shares: term if shares == 3 else (0.0,) * len(ORDERS))
        made = plan("Silo", 1)
        noise = float(made.noise_multipliers[0])
        assert release_rdp(made, ReleaseKind.TRAIN, 1, "Outsiders") == compose(gaussian(noise), term)
        assert release_rdp(made, ReleaseKind.TRAIN, 1, "ServerAndOne") == pytest.approx(gaussian(noise / math.sqrt(3)))


class TestPld:
    @pytest.mark.parametrize(("adversary", "shares"), [("Outsiders", 3), ("ServerAndOne", 1)])
    def test_it_bounds_the_exact_sum(self, adversary: Adversary, shares: int) -> None:
        sigma, shift = 8.0, 9
        made = plan("Silo", 1, noise_multiplier=f"{sigma * math.sqrt(3) / shift:.9f}")
        claim = pld_epsilon(made, with_noise(made.slots(), sigma), 1, adversary)
        law = np.array(list(discrete(sigma).values()))
        total = law
        for _ in range(shares - 1):
            total = np.convolve(total, law)
        moved = np.concatenate([np.zeros(shift), total])
        still = np.concatenate([total, np.zeros(shift)])
        exact = math.fsum(np.maximum(0.0, moved - math.exp(claim) * still))
        assert 0.3 * DELTA < exact <= DELTA


class TestCertified:
    def test_a_figure_for_each_group_the_charged_one_first(self) -> None:
        made = plan("Record", 2, quorum=4, colluding=1).for_owner(8000, "ServerAndOne")
        releases = [
            CertifiedRelease.model_validate(
                {
                    "slot": Slot(ReleaseKind.TRAIN, number).key,
                    "digest": "sha256:" + "0" * 64,
                    "at": "2026-11-22T12:00:00Z",
                    "values": 10,
                    "noise": "100",
                    "enforced_multiplier": "0.01",
                }
            )
            for number in (1, 2)
        ]
        told = figures(made, releases)
        assert [each.adversaries for each in told[::3]] == [
            ["ServerAndOne"],
            ["Outsiders"],
            ["OneParticipant", "CollusionThreshold"],
        ]
        assert [each.claim for each in told[:3]] == ["Released", "Reserved", "Enforced"]
        exact = epsilons(made, made.slots())
        for first in range(0, 9, 3):
            released, reserved, enforced = told[first : first + 3]
            assert float(released.epsilon) == float(reserved.epsilon) == pytest.approx(exact[released.adversaries[0]])
            assert float(released.epsilon) >= exact[released.adversaries[0]]
            assert float(enforced.epsilon) > 100 * float(released.epsilon)
        alone, outside = told[2], told[5]
        assert float(alone.epsilon) == pytest.approx(4 * float(outside.epsilon), rel=0.2), (
            "four shares: a quarter of rho"
        )
