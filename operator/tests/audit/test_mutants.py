"""Broken filters, each caught: by the audit where it shows in the messages, else by the check that it is named for.

A mutant is a function of the real gate code that is patched here; everything else runs as shipped.
"""

import multiprocessing
from dataclasses import replace
from multiprocessing.connection import Connection

import numpy as np
import pytest
from numpy.typing import NDArray

from hanse.api.privacy import PrivacyPlan
from hanse.runtime.codec import Codec, Demand, choose, codec, grid
from hanse.runtime.codec.grid import Grid
from hanse.runtime.codec.lanes import pack
from hanse.runtime.codec.rounding import norm, round_record, round_silo
from hanse.runtime.noise import ChaChaStream, ReleaseNoise, Stream, StreamReusedError, sampler, stream
from tests.audit.cases import RECORDS, claim, records, resolved, silos
from tests.audit.harness import Draws, lower_bound, transcript
from tests.unit.runtime.codec.plans import seed
from tests.unit.runtime.noise.streams import fixed

DELTA = 1e-5
Vector = NDArray[np.float64]
Inputs = list[tuple[Vector, Vector]]


def audit(plan: PrivacyPlan, sides: tuple[Inputs, ...], draws: Draws = fixed) -> float:
    """The lower bound of epsilon."""
    left, right = (
        transcript(plan, side, name, draws=draws) for side, name in zip(sides, ("left", "right"), strict=True)
    )
    return lower_bound(left, right, DELTA)


@pytest.mark.parametrize("unit", ["Silo", "Record"])
def test_half_the_noise(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = resolved(unit, epsilon="4.0")  # type: ignore[arg-type]
    sides = silos(4, 1) if unit == "Silo" else records(4, 1)
    assert audit(plan, sides) < claim(plan)
    monkeypatch.setattr(grid, "_up", lambda sigma: sigma / 2)
    assert audit(plan, sides) > claim(plan)


def test_c_for_2c(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sensitivity of a silo that leaves, under a claim about one that is replaced."""
    chosen = grid._silo

    def mutant(demand: Demand) -> Grid | None:
        real = chosen(demand)
        return real and replace(real, sensitivity=real.norm, sigma=demand.noise_multiplier * real.norm)

    plan = resolved("Silo", epsilon="4.0")
    monkeypatch.setattr(grid, "_silo", mutant)
    monkeypatch.setattr(grid, "MAX_INFLATION", 9.0)
    assert audit(plan, silos(4, 1)) > claim(plan)


def test_noise_before_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    def mutant(self: Codec, entries: Vector, noise: ReleaseNoise) -> tuple[NDArray[np.uint8], Vector, float]:
        assert self.grid is not None
        noised = entries / self.grid.step + noise.draw(self.grid.sigma, self.kept)
        clipped = noised * np.minimum(1.0, self.grid.radius / np.linalg.norm(noised, axis=-1, keepdims=True))
        points = np.rint(clipped + self.seed.dither(self.kept)).astype(np.int64)
        return pack(points, self.bits), entries, 1.0

    plan = resolved("Silo")
    monkeypatch.setattr(Codec, "_private", mutant)
    assert audit(plan, silos(4, 1)) > claim(plan)


def test_unweighted_sensitivity(monkeypatch: pytest.MonkeyPatch) -> None:
    """A participant scales its clipped update by its weight, while the noise is for a weight of one."""

    def mutant(vector: Vector, dither: Vector, chosen: Grid) -> NDArray[np.int64]:
        return 3 * round_silo(vector, dither, chosen)

    plan = resolved("Silo")
    monkeypatch.setattr(codec, "round_silo", mutant)
    assert audit(plan, silos(4, 1)) > claim(plan)


def test_no_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = resolved("Silo")
    monkeypatch.setattr(codec, "round_silo", lambda vector, dither, _: np.rint(3 * vector + dither).astype(np.int64))
    assert audit(plan, silos(4, 1)) > claim(plan)


def test_realised_batch_size() -> None:
    """A mean over the records that were drawn, times the expected batch: one record changes all the others' share."""
    plan = resolved("Record")
    first, second = np.array([0.5, 0.0]), np.array([0.0, 0.5])
    alone = first * RECORDS / 1
    both = (first + second) * RECORDS / 2
    assert audit(plan, ([(alone, alone)], [(alone, both)])) > claim(plan)


def test_reused_noise() -> None:
    """One stream for all rounds: differences of rounds carry no noise."""
    plan = resolved("Silo", "constant")
    direction = np.full(2, 10.0)
    # An update that turns round against one that does not: the same norms, the same clip.
    left = [(direction, direction)] * 4
    right = [(direction * sign, direction * sign) for sign in (1, -1, 1, -1)]
    assert audit(plan, (left, right)) < claim(plan)

    def reused(name: str) -> Stream:
        return fixed(name.split()[0])

    assert audit(plan, (left, right), reused) > claim(plan)


def test_a_stream_is_reused_only_by_a_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = ReleaseNoise()
    first = noise.draw(100.0, 8)
    with pytest.raises(StreamReusedError):
        noise.draw(100.0, 8)
    assert not np.array_equal(first, ReleaseNoise().draw(100.0, 8))
    # The mutant: a key that is made once for the program.
    monkeypatch.setattr(ChaChaStream, "fresh", classmethod(lambda cls: cls(b"one key for all".ljust(32))))
    assert np.array_equal(ReleaseNoise().draw(100.0, 8), ReleaseNoise().draw(100.0, 8))


def _draw(pipe: Connection, inherited: ChaChaStream) -> None:
    try:
        pipe.send(sampler(1000.0).draw(inherited, 16).tolist())
    except StreamReusedError:
        pipe.send([])


def _draws_of_two_children() -> list[list[int]]:
    forks = multiprocessing.get_context("fork")
    ours, theirs = forks.Pipe()
    inherited = ChaChaStream.fresh()
    children = [forks.Process(target=_draw, args=(theirs, inherited)) for _ in range(2)]
    for child in children:
        child.start()
    drawn = [ours.recv() for _ in children]
    for child in children:
        child.join()
    return drawn


def test_the_same_stream_after_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _draws_of_two_children() == [[], []]
    # The mutant: no guard. Both children's noise is the same, and their difference has none.
    monkeypatch.setattr(stream, "_process", lambda: (0, 0))
    first, second = _draws_of_two_children()
    assert first == second != []


@pytest.mark.parametrize("lanes", [8, 2000])
def test_a_records_sensitivity_without_the_rounding(lanes: int) -> None:
    """Less than a fifth more noise: no audit sees it, an adversarial neighbour does."""
    chosen = choose(Demand("Record", 1.0, 0.5, lanes, 15, 20, 20))
    dither = seed().dither(lanes)
    below = 0.5 - dither - 1e-6
    whole = np.ceil(chosen.radius / np.sqrt(lanes)) - 1 + 2e-6  # most that a step's rounding adds to an entry
    one = np.full(lanes, whole)
    assert norm(one) <= chosen.radius
    moved = norm((round_record(below + one, dither, chosen) - round_record(below, dither, chosen)).astype(np.float64))
    assert moved <= chosen.sensitivity
    assert moved > norm(one) * (1 + 2**-10)  # the mutant's: FLOAT_MARGIN alone
