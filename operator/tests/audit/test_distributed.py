"""Noise in shares: each adversary's audited epsilon is below its claim, and broken shares are caught.

The gates' own `SumCodec` runs for every participant; outsiders are given the sums, the server with one participant the
audited participant's points alone.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from hanse import dp
from hanse.api.privacy import Adversary, DifferentialPrivacy, PrivacyPlan, Unit
from hanse.runtime.codec import Layout, PrivateGrid, SumCodec, summed
from hanse.runtime.codec.sumgrid import SumDemand
from tests.audit.cases import RECORDS, SCHEDULES, records, silos
from tests.audit.harness import RUNS, Runs, lower_bound
from tests.unit.runtime.codec.plans import NoNoise
from tests.unit.runtime.noise.streams import fixed

DELTA: Final = 1e-5
QUORUM: Final = 3
INVITED: Final = 15  # so many may come; a quorum of them does

Vector = NDArray[np.float64]
Noise = Callable[[str, int], Any]
Inputs = Iterable[tuple[Vector, Vector]]


def resolved(unit: Unit, schedule: str = "one-release", *, epsilon: str = "2.0", rate: str = "1.0") -> PrivacyPlan:
    asked, rounds = SCHEDULES[schedule]
    fields: dict[str, Any] = {"unit": unit, "epsilon": epsilon, "delta": "1e-5", "clip": "0.5", "schedule": asked}
    if unit == "Record":
        fields["sample_rate"] = rate
    wanted = DifferentialPrivacy(**fields, mechanism="Distributed")
    return dp.resolve(wanted, rounds, RECORDS, quorum=QUORUM)


def claim(plan: PrivacyPlan, adversary: Adversary) -> float:
    return dp.epsilons(plan, plan.slots())[adversary]


def fresh(world: str, member: int) -> Runs:
    """Each participant's own noise."""
    return Runs(RUNS, fixed(f"{world} {member}"))


def transcript(plan: PrivacyPlan, inputs: Inputs, world: str, alone: bool, noise: Noise = fresh) -> Vector:
    """What is seen of a whole job, [RUNS, rounds * lanes], in deviations of one share. Member 0's input is audited."""
    rate = 1.0 if plan.sample_rate is None else float(plan.sample_rate)
    coins = np.random.default_rng(sum(world.encode()))
    mass = float(plan.expected_batch or 1)
    seen = []
    for number, (absent, present) in enumerate(inputs, 1):
        codec = SumCodec.of(Layout.of({"w": absent}), number, "sha256:audit", [(1.0, mass)] * INVITED, plan)
        assert isinstance(codec.grid, PrivateGrid)
        drawn = codec.quantise(present, 0, noise(f"{world} {number}", 0)).points
        if rate < 1:
            without = codec.quantise(absent, 0, noise(f"{world} {number} out", 0)).points
            drawn = np.where(coins.random((RUNS, 1)) < rate, drawn, without)
        if not alone:
            others = np.linspace(-0.3, 0.2, len(absent))
            for member in range(1, QUORUM):
                drawn = drawn + codec.quantise(others, member, noise(f"{world} {number}", member)).points
        seen.append(drawn / codec.grid.sigma)
    return np.concatenate(seen, axis=1)


def found(plan: PrivacyPlan, sides: tuple[Inputs, ...], alone: bool = False, noise: Noise = fresh) -> float:
    left, right = (transcript(plan, side, name, alone, noise) for side, name in zip(sides, ("l", "r"), strict=True))
    return lower_bound(left, right, DELTA)


@pytest.mark.parametrize("schedule", ["one-release", "linear"])
@pytest.mark.parametrize(("unit", "rate"), [("Silo", "1.0"), ("Record", "1.0"), ("Record", "0.5")])
def test_each_adversary_finds_less_than_is_claimed(unit: Unit, rate: str, schedule: str) -> None:
    plan = resolved(unit, schedule, rate=rate)
    sides = silos(4, plan.rounds) if unit == "Silo" else records(4, plan.rounds)
    outside, alone = found(plan, sides), found(plan, sides, alone=True)
    assert 0.15 * claim(plan, "Outsiders") < outside < claim(plan, "Outsiders")
    assert outside < alone < claim(plan, "ServerAndOne")


def test_a_single_share_hides_less_than_is_claimed_of_sums() -> None:
    """Why the server with a key holder has a figure of its own."""
    plan = resolved("Silo", epsilon="4.0")
    assert claim(plan, "Outsiders") < found(plan, silos(4, 1), alone=True) < claim(plan, "ServerAndOne")


@pytest.mark.parametrize("unit", ["Silo", "Record"])
def test_shares_that_are_calibrated_to_all_who_were_invited(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = resolved(unit, epsilon="6.0")
    sides = silos(4, 1) if unit == "Silo" else records(4, 1)
    assert found(plan, sides) < claim(plan, "Outsiders")

    def mutant(**fields: Any) -> SumDemand:
        return SumDemand(**{**fields, "shares": INVITED})

    monkeypatch.setattr(summed, "SumDemand", mutant)
    assert found(plan, sides) > claim(plan, "Outsiders")


def test_noise_that_only_one_participant_adds() -> None:
    def mutant(world: str, member: int) -> Runs:
        return Runs(RUNS, fixed(world) if member == 1 else NoNoise())

    plan = resolved("Silo", epsilon="4.0")
    assert found(plan, silos(4, 1), noise=mutant) > claim(plan, "Outsiders")


def test_participants_that_draw_from_one_stream() -> None:
    """The same share three times is three times the deviation, not sqrt(3): too much noise, and none between them."""

    def mutant(world: str, member: int) -> Runs:
        return Runs(RUNS, fixed(world))

    plan = resolved("Silo", epsilon="4.0")
    left, right = (transcript(plan, side, name, False, mutant) for side, name in zip(silos(4, 1), "lr", strict=True))
    assert np.std(left) == pytest.approx(3.0, rel=0.1)
    assert lower_bound(left, right, DELTA) < claim(plan, "Outsiders")


@pytest.mark.parametrize("edge", [0.5 - 1e-9, 0.5, 0.25])
def test_a_record_at_a_grid_point(edge: float) -> None:
    """Rounding to the coarse grid comes after the noise: a sum at a boundary is no easier to tell."""
    plan = resolved("Record")
    codec = SumCodec.of(Layout.of({"w": np.zeros(8)}), 1, "sha256:audit", [(1.0, 40.0)] * INVITED, plan)
    below = np.full(8, edge * codec.grid.step)
    one = np.full(8, 0.5 / np.sqrt(8))
    assert found(plan, ([(below, below)], [(below, below + one)])) < claim(plan, "Outsiders")
