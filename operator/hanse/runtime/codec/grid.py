"""The integer grid of a private release: its step, the sensitivity on it and the noise; called by the codec.

Everything is in grid steps. A vector u of the k entries that are sent becomes v = u / step, is projected, is rounded to
q = round(v + r) with a dither r in (-1/2, 1/2)^k that is public and does not depend on data, and gets integer noise.
The receiver takes (q + noise - r) * step. All bounds hold for every r, so r needs no secrecy and no quality.

The discrete Gaussian is as private as the continuous one for integer differences: for a shift m in Z^k and an integer
order a, E_P[(Q/P)^a] = exp((a^2 - a) |m|^2 / (2 sigma^2)) in both cases (complete the square: a m is an integer, so the
shifted sum over Z is the unshifted one). Hence the concentrated DP of Canonne, Kamath, Steinke 2020 (arXiv:2004.00010)
and, term by term in the binomial expansion, the Poisson-sampled Gaussian's RDP at integer orders (Mironov, Talwar,
Zhang 2019, arXiv:1908.10530, section 3.3, whose symmetry x -> m - x maps Z^k to itself). What is left is the L2
sensitivity of q.

Unit Silo, neighbours replace one silo's data by any other. R = clip / step and |v| <= R after the projection. With the
rounding error e = q - r - v in [-1/2, 1/2]^k: |q - r| <= R + sqrt(k) / 2 always, and about sqrt(R^2 + k / 12) for most
r. D is the smaller of the first and of the second plus 3; the code enforces |q - r| <= D by scaling v down until it
holds, which may depend on the data because it only changes which point of the ball this silo takes. Any two such points
are within 2 D of each other.

Unit Record, neighbours add or remove one record, whose gradient has norm <= clip. Projections onto a ball and onto a
box are non-expansive, so |v - v'| <= R (1 + FLOAT_MARGIN) still. Rounding is monotone and |round(a) - round(b)| <=
|a - b| + 1, so |q - q'| <= R (1 + FLOAT_MARGIN) + sqrt(k). Scaling until a check holds is not allowed here: it may move
neighbours apart. FLOAT_MARGIN covers that clipping and summation are done in floating point (float32 per record, sums
in float64) and that float64's rounding of v is not zero.

Lanes: |q_i| <= bound + 1, and P(|noise_i| > x) <= 2 exp(-x^2 / (2 sigma^2)) (the law is subgaussian), so with
bound + 1 + t sigma <= capacity the chance that any of N lanes ever wraps is at most 2 N exp(-t^2 / 2).
"""

import math
from dataclasses import dataclass
from typing import Final

from hanse.api.job import MAX_PARTICIPANTS
from hanse.api.privacy import Unit
from hanse.runtime.codec.errors import GridTooCoarseError
from hanse.runtime.codec.lanes import capacity
from hanse.runtime.noise import FINE_SIGMA, MIN_SIGMA

WRAP_PROBABILITY: Final = 1e-6  # over all lanes, rounds, attempts and participants of a job
STEP_PROBABILITY: Final = 1e-6  # that an honest job ever exceeds `Grid.reach`
FLOAT_MARGIN: Final = 2.0**-10
ROUNDING_SLACK: Final = 3.0  # ten standard deviations of |q - r| over the dither
MAX_INFLATION: Final = 1.25  # sensitivity on the grid over the clip: a coarser grid wastes more than a fifth of it
MIN_HEADROOM: Final = 4.0  # aligned records that one entry of a sum holds without being cut (unit Record)


@dataclass(frozen=True)
class Grid:
    """The grid of one release; `radius`, `bound`, `ball`, `sensitivity` and `sigma` are in steps."""

    unit: Unit
    lanes: int
    bits: int
    step: float
    radius: float  # the clip
    ball: float  # L2 norm to which the whole vector is projected: the clip, or that of the expected batch
    bound: float  # largest magnitude of an entry before rounding
    norm: float  # largest |q - r|
    sensitivity: float  # L2, of what the unit's neighbours may change
    sigma: float

    @property
    def inflation(self) -> float:
        """How much more noise the grid needs than the real numbers would; 1 is none."""
        return self.sensitivity / (self.radius * (2 if self.unit == "Silo" else 1))

    @property
    def enforced_multiplier(self) -> float:
        """Noise over the sensitivity to replacing everything the trainer returned: what the gate alone guarantees."""
        return self.sigma / (2 * self.norm)

    def reach(self, releases: int) -> float:
        """L2 norm that no received vector of a job exceeds, in steps, with probability 1 - STEP_PROBABILITY.

        `releases` as in Demand. |noise| from Hsu, Kakade, Zhang 2012 (arXiv:1110.2842, theorem 1) for a subgaussian
        vector: P(|noise|^2 > sigma^2 (k + 2 sqrt(k x) + 2 x)) <= exp(-x).
        """
        x = math.log(releases * MAX_PARTICIPANTS / STEP_PROBABILITY)
        return self.norm + self.sigma * math.sqrt(self.lanes + 2 * math.sqrt(self.lanes * x) + 2 * x)


@dataclass(frozen=True)
class Demand:
    """What a grid is chosen for."""

    unit: Unit
    clip: float
    noise_multiplier: float
    lanes: int  # entries that are sent
    bits: int
    releases: int  # of one participant over the job: rounds times attempts
    expected_batch: int = 1


def tail(demand: Demand) -> float:
    """t: noise above t sigma in any lane of the job has at most WRAP_PROBABILITY."""
    draws = demand.lanes * demand.releases * MAX_PARTICIPANTS
    return math.sqrt(2 * math.log(2 * draws / WRAP_PROBABILITY))


def choose(demand: Demand) -> Grid:
    """The finest grid whose lanes do not wrap and whose noise can be drawn.

    Raises GridTooCoarseError when the grid would inflate the sensitivity by more than MAX_INFLATION.
    """
    grid = _silo(demand) if demand.unit == "Silo" else _record(demand)
    if grid is None or grid.inflation > MAX_INFLATION or grid.sigma < MIN_SIGMA:
        raise GridTooCoarseError(
            f"lanes of {demand.bits} bits are too coarse for {demand.lanes} entries at noise multiplier "
            f"{demand.noise_multiplier:g}: use more bits, send fewer entries or use less noise"
        )
    return grid


def _silo(demand: Demand) -> Grid | None:
    z, root = demand.noise_multiplier, math.sqrt(demand.lanes)
    norm = min((capacity(demand.bits) - 1) / (1 + 2 * z * tail(demand)), FINE_SIGMA * (1 - 1e-9) / (2 * z))
    # The larger of the two radii for which the rounded vector stays within `norm`.
    square = (norm - ROUNDING_SLACK) ** 2 - demand.lanes / 12 if norm > ROUNDING_SLACK else 0.0
    radius = max(norm - root / 2, math.sqrt(max(square, 0.0)))
    if radius <= 0:
        return None
    return Grid(
        unit="Silo",
        lanes=demand.lanes,
        bits=demand.bits,
        step=demand.clip / radius,
        radius=radius,
        ball=radius,
        bound=radius,
        norm=norm,
        sensitivity=2 * norm,
        sigma=_up(2 * norm * z),
    )


def _record(demand: Demand) -> Grid | None:
    z, root, top = demand.noise_multiplier, math.sqrt(demand.lanes), capacity(demand.bits) - 1
    scaled = tail(demand) * z
    finest = min(top / (scaled + max(scaled, MIN_HEADROOM)), FINE_SIGMA * (1 - 1e-9) / z)
    # Fine enough that rounding costs one percent; finer only while no sum of a whole batch is cut.
    radius = min((finest - root) / (1 + FLOAT_MARGIN), max(top / (2 * demand.expected_batch), 100 * root))
    if radius <= 0:
        return None
    sensitivity = radius * (1 + FLOAT_MARGIN) + root
    sigma = _up(sensitivity * z)
    ball = radius * demand.expected_batch
    bound = min(ball, top - tail(demand) * sigma)
    return Grid(
        unit="Record",
        lanes=demand.lanes,
        bits=demand.bits,
        step=demand.clip / radius,
        radius=radius,
        ball=ball,
        bound=bound,
        norm=min(ball, bound * root) + root / 2,
        sensitivity=sensitivity,
        sigma=sigma,
    )


def _up(sigma: float) -> float:
    """Rounded up: the noise is never less than the multiplier says."""
    return math.nextafter(sigma * (1 + 2.0**-50), math.inf)
