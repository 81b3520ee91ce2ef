"""Rényi differential privacy (RDP) vectors: what one release costs, how costs add up, what they mean as epsilon.

Called by everything in hanse.dp, by the operator's ledger and by the certificate. The closed forms are those of
dp-accounting, vectorised, because a plan may have a thousand different noises and the operator must not stand still;
`hanse.dp.reference` compares both. numpy is imported when a subsampled release is first asked for, scipy never.

The noise is a discrete Gaussian, and at integer orders these bounds hold for it as they are:
- Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy" (2020, arXiv:2004.00010), Proposition 5 and
  Theorem 14: for integer vectors u, v, D_a(N_Z(u, s^2) || N_Z(v, s^2)) <= a |u - v|^2 / (2 s^2), as for the continuous.
- Poisson sampling: A_a is a sum over k of binomial weights times exp((k - 1) D_k), which needs integer k, so integer
  orders, alone; the other direction is smaller, because x -> v - x swaps the two laws on the integers too (Mironov,
  Talwar, Zhang 2019, arXiv:1908.10530, Theorem 5 and section 3.3).
"""

import math
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from hanse.api.budget import RDP_ORDERS

if TYPE_CHECKING:
    import numpy.typing as npt

#: Rényi orders of every vector. All are integers: see above.
ORDERS: Final[tuple[float, ...]] = RDP_ORDERS

#: RDP at each of ORDERS, in nats, at least 0.
Rdp = tuple[float, ...]

ZERO: Final[Rdp] = (0.0,) * len(ORDERS)

#: Part of every delta that is kept for the sampler, whose law is not exactly the discrete Gaussian: the gate checks
#: that it needs no more (hanse.runtime.noise.sampler_delta).
SAMPLER_SHARE: Final = 0.01


def compose(*losses: Rdp) -> Rdp:
    """Cost of all of them together, in any order and adaptively chosen (Mironov 2017, arXiv:1702.07476, Prop. 1).

    Sums are correctly rounded, so that the order does not change even the last digit.
    """
    return tuple(math.fsum(column) for column in zip(ZERO, *losses, strict=True))


def times(loss: Rdp, count: int) -> Rdp:
    """Cost of `count` such releases. Raises ValueError for a negative count."""
    if count < 0:
        raise ValueError("a count of releases is at least 0")
    return tuple(value * count for value in loss)


def weighted(losses: Iterable[tuple[Rdp, int]]) -> Rdp:
    """Cost of each loss as often as its count says."""
    return compose(*(times(loss, count) for loss, count in losses))


def parse(values: Iterable[str | float]) -> Rdp:
    """A vector from a ledger. Raises ValueError unless there is a finite number of at least 0 for each order."""
    vector = tuple(float(value) for value in values)
    if len(vector) != len(ORDERS) or not all(math.isfinite(value) and value >= 0 for value in vector):
        raise ValueError("not an RDP vector of this ledger's orders")
    return vector


def gaussian(noise_multiplier: float) -> Rdp:
    """One release of the (discrete) Gaussian mechanism: order / (2 z^2).

    `noise_multiplier` z is the noise's standard deviation over the L2 sensitivity, both in the same unit and, on a
    grid, both in grid steps. Raises ValueError unless it is finite and above 0.
    """
    _check_noise(noise_multiplier)
    return tuple(order / (2 * noise_multiplier**2) for order in ORDERS)


@lru_cache(maxsize=2048)
def subsampled_gaussian(sample_rate: float, noise_multiplier: float) -> Rdp:
    """One release of the (discrete) Gaussian mechanism over a Poisson sample, one record more or less.

    `sample_rate` is each record's chance to be in the sample, above 0 and at most 1; `noise_multiplier` as above, for
    the sensitivity to one record that is in the sample. Raises ValueError for others.
    """
    import numpy as np

    _check_noise(noise_multiplier)
    if not 0 < sample_rate <= 1:
        raise ValueError("a sample rate is above 0 and at most 1")
    if sample_rate == 1:
        return gaussian(noise_multiplier)
    terms = _terms()
    # A_a - 1 = sum over k >= 2 of C(a,k) q^k (1-q)^(a-k) (exp(k(k-1)/(2 z^2)) - 1): all terms are positive, nothing
    # cancels, and what is left of a tiny loss is not lost in 1 + loss.
    exponent = terms.pairs / (2 * noise_multiplier**2)
    logs = terms.binomials + terms.k * math.log(sample_rate) + terms.rest * math.log1p(-sample_rate)
    logs += exponent + np.log(-np.expm1(-exponent))
    top = np.maximum.reduceat(logs, terms.starts)
    total = top + np.log(np.add.reduceat(np.exp(logs - np.repeat(top, terms.lengths)), terms.starts))
    return tuple(float(value) for value in np.logaddexp(0.0, total) / (np.asarray(ORDERS) - 1))


def epsilon(loss: Rdp, delta: float) -> float:
    """THE conversion of a loss to epsilon: calibration, admission, ledger and certificate all use this one.

    Canonne, Kamath, Steinke 2020, Proposition 12, over ORDERS, at 0.99 delta: the rest is the sampler's. Below a loss
    that delta alone covers (delta^2 <= 1 - exp(-KL), Bretagnolle-Huber) epsilon is 0.
    Raises ValueError unless 0 < delta < 1 and the vector has this ledger's orders.
    """
    return convert(zip(ORDERS, parse(loss), strict=True), delta)


def convert(curve: Iterable[tuple[float, float]], delta: float) -> float:
    """The same over any curve of (order above 1, RDP at it)."""
    if not 0 < delta < 1:
        raise ValueError("delta is above 0 and below 1")
    kept = delta * (1 - SAMPLER_SHARE)
    best = math.inf
    for order, value in curve:
        if kept**2 + math.expm1(-value) > 0:
            return 0.0
        best = min(best, value + math.log1p(-1 / order) - math.log(kept * order) / (order - 1))
    return max(0.0, best)


def fits(loss: Rdp, limit: float, delta: float) -> bool:
    """Whether a loss is at most epsilon `limit` at delta: some order says so. What a ledger's admission asks."""
    return epsilon(loss, delta) <= limit


def floor(delta: float) -> float:
    """The smallest epsilon above 0 that ORDERS can tell at this delta."""
    kept = delta * (1 - SAMPLER_SHARE)
    return convert(((order, -math.log1p(-(kept**2))) for order in ORDERS), delta)


class _Terms:
    """The parts of all orders' sums that do not depend on the mechanism, end to end in flat arrays."""

    def __init__(self) -> None:
        import numpy as np

        orders = [int(order) for order in ORDERS]
        k = [np.arange(2, order + 1, dtype=np.float64) for order in orders]
        self.k: npt.NDArray[np.float64] = np.concatenate(k)
        self.rest: npt.NDArray[np.float64] = np.concatenate([o - part for o, part in zip(orders, k, strict=True)])
        self.pairs: npt.NDArray[np.float64] = self.k * (self.k - 1)
        self.binomials: npt.NDArray[np.float64] = np.array(
            [math.log(math.comb(order, i)) for order in orders for i in range(2, order + 1)]
        )
        self.lengths: npt.NDArray[np.int64] = np.array([order - 1 for order in orders])
        self.starts: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])


@cache
def _terms() -> _Terms:
    return _Terms()


def _check_noise(noise_multiplier: float) -> None:
    if not (math.isfinite(noise_multiplier) and noise_multiplier > 0):
        raise ValueError("a noise multiplier is finite and above 0")
