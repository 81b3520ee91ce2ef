"""A black-box audit of the gate's noise: what an adversary that sees the messages can tell about its neighbour.

The codec's own `encode` runs on two neighbouring inputs; the auditor is given nothing but the lanes of the messages. It
learns a linear test on one half of the runs and measures it on the other; Clopper and Pearson's bounds of its two error
rates give a lower bound of epsilon that holds with 95 % confidence (Jagielski, Ullman, Oprea 2020, arXiv:2006.07709).
All streams are fixed, so a test's answer is the same on every run.
"""

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hanse.api.compression import Compression
from hanse.api.privacy import PrivacyPlan
from hanse.runtime.codec import HEADER_BYTES, Codec, Layout, PublicSeed
from hanse.runtime.codec.lanes import unpack
from hanse.runtime.noise import ReleaseNoise, Stream, sampler
from tests.unit.runtime.noise.streams import fixed

RUNS: Final = 200_000  # half of them are measured
CONFIDENCE: Final = 0.95

Vector = NDArray[np.float64]
Draws = Callable[[str], Stream]


class Runs(ReleaseNoise):
    """The noise of many runs of one release at once: `encode` adds it to one update, row by row.

    Rounding and projection depend on no noise, so a message with a row for each run is that many messages. That this
    equals as many calls of `encode` is itself tested.
    """

    def __init__(self, runs: int, stream: Stream) -> None:
        super().__init__(stream)
        self._runs = runs
        self._words = stream

    def draw(self, sigma: float, count: int) -> NDArray[np.int64]:
        """Of shape (runs, count)."""
        return sampler(sigma).draw(self._words, self._runs * count).reshape(self._runs, count)


def observe(codec: Codec, vector: Vector, runs: int, stream: Stream) -> Vector:
    """The lanes of `runs` messages, of shape (runs, lanes)."""
    message = codec.encode(vector, Runs(runs, stream)).message
    lanes = unpack(message[HEADER_BYTES:], runs * codec.kept, codec.bits)
    return lanes.reshape(runs, codec.kept).astype(np.float64)


def transcript(
    plan: PrivacyPlan,
    inputs: Iterable[tuple[Vector, Vector]],
    world: str,
    *,
    runs: int = RUNS,
    compression: Compression | None = None,
    draws: Draws = fixed,
) -> Vector:
    """What an adversary sees of a whole job, of shape (runs, rounds * lanes).

    Each round's input is a pair: what is released without the record in question, and what is with it; the second is
    taken at the plan's sample rate, independently in each round (always without one).
    """
    rate = 1.0 if plan.sample_rate is None else float(plan.sample_rate)
    coins = np.random.default_rng(sum(world.encode()))
    seen = []
    for number, (absent, present) in enumerate(inputs, 1):
        layout = Layout.of({"w": absent})
        codec = Codec.of(layout, PublicSeed("sha256:audit", number, 1), plan, compression)
        drawn = observe(codec, present, runs, draws(f"{world} {number}"))
        if rate < 1:
            without = observe(codec, absent, runs, draws(f"{world} {number} out"))
            drawn = np.where(coins.random((runs, 1)) < rate, drawn, without)
        assert codec.grid is not None
        seen.append(drawn / codec.grid.sigma)
    return np.concatenate(seen, axis=1)


def lower_bound(left: Vector, right: Vector, delta: float) -> float:
    """Epsilon is above this with 95 % confidence, whatever made the two transcripts (zero if nothing is found)."""
    half = len(left) // 2
    direction = _direction(left[:half], right[:half])
    learned = np.sort(left[:half] @ direction), np.sort(right[:half] @ direction)
    measured = np.sort(left[half:] @ direction), np.sort(right[half:] @ direction)
    thresholds = np.quantile(np.concatenate(learned), np.linspace(0.0001, 0.9999, 1000))
    # Much more cautious than the measurement: the best of a thousand tests is lucky on what it was chosen with.
    found = _bounds(*learned, thresholds, delta, 1e-4)
    test, index = np.unravel_index(np.argmax(found), found.shape)
    bounds = _bounds(*measured, thresholds[index : index + 1], delta, (1 - CONFIDENCE) / 2)
    return max(float(bounds[test, 0]), 0.0)


def _direction(left: Vector, right: Vector) -> Vector:
    """Fisher's linear discriminant; it also finds directions in which the noise cancels."""
    scatter = np.atleast_2d(np.cov(left, rowvar=False) + np.cov(right, rowvar=False))
    ridge = 1e-12 * np.trace(scatter) * np.eye(len(scatter))
    return np.asarray(np.linalg.solve(scatter + ridge, right.mean(axis=0) - left.mean(axis=0)))


def _bounds(left: Vector, right: Vector, thresholds: Vector, delta: float, tail: float) -> Vector:
    """log((hits - delta) / alarms) of four tests for each threshold, each rate at its bad end.

    The tests: right scores above, or left scores below, count as hits, and the same with the worlds exchanged.
    """
    below = [np.searchsorted(scores, thresholds, side="right") for scores in (left, right)]
    above = [len(scores) - count for scores, count in zip((left, right), below, strict=True)]
    pairs = [(above[1], above[0]), (below[0], below[1]), (above[0], above[1]), (below[1], below[0])]
    return np.array([_log_ratio(hits, alarms, len(left), delta, tail) for hits, alarms in pairs])


def _log_ratio(hits: NDArray[np.intp], alarms: NDArray[np.intp], runs: int, delta: float, tail: float) -> Vector:
    low = np.where(hits > 0, stats.beta.ppf(tail, np.maximum(hits, 1), runs - hits + 1), 0.0) - delta
    high = np.where(alarms < runs, stats.beta.ppf(1 - tail, alarms + 1, np.maximum(runs - alarms, 1)), 1.0)
    return np.asarray(np.log(np.maximum(low, 1e-300) / high))
