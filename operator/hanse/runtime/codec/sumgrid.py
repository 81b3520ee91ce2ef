"""The grid that all participants of an encrypted sum share: its step, each one's bounds, the noise; for `summed`.

The engine adds integers in lanes that hold magnitudes up to CAPACITY. n members take part, member i scales its vector
by s_i in (0, 1] first; its mass m_i is what it counts in the mean's denominator.

**Without differential privacy** (`plain`). Every |s_i v_i| is at most s_i * reach: x_i = s_i * reach / step steps.
Rounding to nearest stays within ceil(x_i - 1/2). These limits must add up to CAPACITY at most, so the step is chosen
with sum x_i = CAPACITY - n/2 + j, j = min(4, n/2), and the excess e <= j - D is taken from the limits that were rounded
up the most; D is the sum over members of d_i = x_i - ceil(x_i - 1/2) + 1/2 >= 0. A limit that is lowered by one adds
d_i to that member's largest error of 1/2, and the e smallest d_i add at most e D / n <= j^2 / (4 n). So the sum's error
is at most (n/2 + j^2 / (4n)) steps, whatever the scales: at most (n/2 + 1) / 2^18 times sum s_i * reach for every n up
to 1,024 (a test goes through all), which is (n/2 + 1) 2^-19 of the range from -reach to reach.

**With differential privacy** (`private`). Noise and rounding are done on a grid that is f = 2^fine times finer: member
i computes u_i = round(f v_i / step), adds a share y_i = u_i + N_Z(0, (f sigma)^2) and sends q_i = floor(y_i / f + 1/2).
By the lemma in `hanse.dp.shares` a sum of such q_i is as private as the fine sum, as long as sigma >= 8 steps; less is
refused. So rounding to the engine's coarse steps costs no sensitivity, and what counts is the L2 sensitivity of u_i,
in fine steps, with R = f clip / step and k lanes:

- Record: neighbours' sums of gradients differ by at most s_i R (1 + FLOAT_MARGIN) after projections onto a ball and a
  box, which are non-expansive, and |round(a) - round(b)| <= |a - b| + 1 in each entry: R (1 + FLOAT_MARGIN) + sqrt(k).
- Silo: |u_i| <= s_i R + sqrt(k) / 2 after the projection, and two such points are within 2 R + sqrt(k).

All s_i <= 1, so both hold for every member. f is as large as the sampler's tables allow, and sqrt(k) is then a small
part of R; more than MAX_INFLATION is refused.

**No wrap.** |q_i| <= bound_i + |share_i / f| + 1. The shares' sum is subgaussian with n sigma^2, and the chance that it
exceeds t sqrt(n) sigma in any of N sums of a job is at most 2 N exp(-t^2 / 2) = WRAP_PROBABILITY. So the bounds are
chosen with sum bound_i + n + t sqrt(n) sigma <= CAPACITY. For Record, where a batch's aligned sum would be far longer
than any real one, the box may be smaller than the ball; for Silo nothing is ever cut.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from hanse.api.privacy import Unit
from hanse.dp.shares import MIN_SHARE_STEPS
from hanse.runtime.codec.errors import CodecError, GridTooCoarseError
from hanse.runtime.codec.grid import FLOAT_MARGIN, MAX_INFLATION, MIN_HEADROOM, WRAP_PROBABILITY
from hanse.runtime.noise import FINE_SIGMA, MAX_SIGMA

LANE_BITS: Final = 19
CAPACITY: Final = (1 << (LANE_BITS - 1)) - 1  # of the sum, with either sign
MAX_MEMBERS: Final = 1024
_SLACK: Final = 4.0  # j above
_GOOD_INFLATION: Final = 1.01  # above it the fine grid may need the sampler's third draw
_ROOM: Final = 1 + 2.0**-40  # floating point in the step: bounds are never larger than they say

#: (scale, mass) of each member, in the roster's order.
Members = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class PlainGrid:
    """Without differential privacy: member i sends at most `limits[i]` steps."""

    step: float
    limits: tuple[int, ...]


@dataclass(frozen=True)
class PrivateGrid:
    """With differential privacy: `step` and `sigma` are coarse (what is sent), the `fine_` ones are 2^fine finer."""

    unit: Unit
    lanes: int
    step: float
    fine: int  # bits
    sigma: float  # of one share, in steps: at least MIN_SHARE_STEPS
    fine_sigma: float
    fine_radius: float  # the clip
    fine_sensitivity: float  # L2, of what the unit's neighbours may change
    balls: tuple[float, ...]  # L2 norm to which each member's scaled vector is projected, in steps
    bounds: tuple[float, ...]  # largest magnitude of an entry of it, in steps

    @property
    def inflation(self) -> float:
        """How much more noise the fine grid needs than the real numbers would; 1 is none."""
        return self.fine_sensitivity / (self.fine_radius * (2 if self.unit == "Silo" else 1))

    def enforced_multiplier(self, member: int) -> float:
        """One share over the sensitivity to replacing everything that `member`'s trainer returned."""
        root = math.sqrt(self.lanes)
        norm = min(self.balls[member], self.bounds[member] * root) * 2.0**self.fine + root / 2
        return self.fine_sigma / (2 * norm)


@dataclass(frozen=True)
class SumDemand:
    """What a private grid is chosen for."""

    unit: Unit
    clip: float
    noise_multiplier: float  # of all the shares that the calibration counts
    shares: int
    lanes: int  # entries that are sent
    sums: int  # of the job: rounds times attempts
    members: Members


@lru_cache(maxsize=64)
def plain(members: Members, reach: float) -> PlainGrid:
    """The common grid for entries up to `reach`. Raises CodecError for members or a reach that cannot be."""
    _check(members)
    if not (math.isfinite(reach) and reach > 0):
        raise CodecError(f"a range of {reach:g} is none")
    scales = np.array([scale for scale, _ in members])
    total, count = math.fsum(scales), len(members)
    step = reach * total / (CAPACITY - count / 2 + min(_SLACK, count / 2)) * _ROOM
    points = scales * (reach / step)
    limits = np.maximum(np.ceil(points - 0.5), 0).astype(np.int64)
    excess = int(limits.sum()) - CAPACITY
    if excess > 0:
        limits[np.argsort(points - limits, kind="stable")[:excess]] -= 1
    return PlainGrid(step, tuple(int(limit) for limit in limits))


@lru_cache(maxsize=64)
def private(demand: SumDemand) -> PrivateGrid:
    """The common grid of a private sum. Raises GridTooCoarseError with what would help, CodecError."""
    _check(demand.members)
    count, masses = len(demand.members), [mass for _, mass in demand.members]
    weights = masses if demand.unit == "Record" else [scale for scale, _ in demand.members]
    share = demand.noise_multiplier * (1 if demand.unit == "Record" else 2) / math.sqrt(demand.shares)
    spread = _tail(demand) * math.sqrt(count)
    room = CAPACITY - count
    # The finest grid that cuts nothing. The factor leaves room for the inflation, which is known only afterwards.
    radius = room / (math.fsum(weights) + spread * share * MAX_INFLATION)
    if demand.unit == "Record":
        radius = max(radius, MIN_SHARE_STEPS / share * (1 + 1e-9))
    grid = _fine(demand, radius, share)
    headroom = room - spread * grid.sigma
    if grid.sigma < MIN_SHARE_STEPS or headroom < min(MIN_HEADROOM, math.fsum(weights)) * radius:
        raise GridTooCoarseError(
            f"a share of the noise would be {grid.sigma:.3g} steps of the grid that {count} participants share, and "
            f"needs {MIN_SHARE_STEPS:g}: use more noise (a smaller epsilon), fewer participants, or mechanism Local"
        )
    if grid.inflation > MAX_INFLATION:
        raise GridTooCoarseError(
            f"noise multiplier {demand.noise_multiplier:g} cannot be drawn finely enough for {demand.lanes} entries: "
            "send fewer of them or use less noise"
        )
    return _bounded(demand, grid, headroom)


def _fine(demand: SumDemand, radius: float, share: float) -> PrivateGrid:
    """The grid with the clip at `radius` steps, on the finest grid whose noise two draws (or three) can make."""
    root = math.sqrt(demand.lanes)

    def at(bits: int) -> PrivateGrid:
        fine_radius = radius * 2.0**bits
        record = demand.unit == "Record"
        sensitivity = fine_radius * (1 + FLOAT_MARGIN) + root if record else 2 * fine_radius + root
        sigma = math.nextafter(
            sensitivity * demand.noise_multiplier / math.sqrt(demand.shares) * (1 + 2.0**-50), math.inf
        )
        return PrivateGrid(
            unit=demand.unit,
            lanes=demand.lanes,
            step=demand.clip / radius * _ROOM,
            fine=bits,
            sigma=sigma / 2.0**bits,
            fine_sigma=sigma,
            fine_radius=fine_radius,
            fine_sensitivity=sensitivity,
            balls=(),
            bounds=(),
        )

    def finest(most: float) -> PrivateGrid:
        bits = max(0, math.floor(math.log2(most / (share * radius))))
        while bits and at(bits).fine_sigma > most:
            bits -= 1
        return at(bits)

    quick = finest(FINE_SIGMA)
    return quick if quick.inflation <= _GOOD_INFLATION else finest(MAX_SIGMA)


def _bounded(demand: SumDemand, grid: PrivateGrid, headroom: float) -> PrivateGrid:
    """The grid with each member's ball and box; headroom is split by what each may have."""
    weights = [mass if demand.unit == "Record" else scale for scale, mass in demand.members]
    whole = math.fsum(weights)
    radius = grid.fine_radius / 2.0**grid.fine
    balls = tuple(radius * weight for weight in weights)
    boxes = tuple(min(ball, headroom * weight / whole) for ball, weight in zip(balls, weights, strict=True))
    return PrivateGrid(**{**vars(grid), "balls": balls, "bounds": boxes})


def _tail(demand: SumDemand) -> float:
    """t: the noise of a sum is above t times its deviation in any lane of the job with at most WRAP_PROBABILITY."""
    return math.sqrt(2 * math.log(2 * demand.lanes * demand.sums / WRAP_PROBABILITY))


def _check(members: Sequence[tuple[float, float]]) -> None:
    if not 1 <= len(members) <= MAX_MEMBERS:
        raise CodecError(f"a sum of {len(members)} participants: the grid holds 1 to {MAX_MEMBERS}")
    if not all(0 < scale <= 1 and 0 < mass < math.inf for scale, mass in members):
        raise CodecError("a scale is above 0 and at most 1, a mass above 0")
