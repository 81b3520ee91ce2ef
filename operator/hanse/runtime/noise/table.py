"""The CDF of the discrete Gaussian as integers of 511 bits; made once for each sigma by the sampler.

The law (Canonne, Kamath, Steinke 2020, arXiv:2004.00010, definition 1): P(X = k) is proportional to
w(k) = exp(-k^2 / (2 sigma^2)) over the integers. The table is of |X|; the sign is a bit of its own.

Fixed point with W = 576 bits, u = 2^-W. With q(k) = w(k+1) / w(k) = exp(-(2k+1) / (2 sigma^2)) and
r = exp(-1 / sigma^2): w(0) = 1, w(k+1) = w(k) q(k), q(k+1) = q(k) r. All are in (0, 1], every product is rounded down.

Error bound. q(0) and r come from `Decimal.exp`, which is correctly rounded: with 200 digits each is within 2u after its
rounding to W bits. err q(k+1) <= err q(k) + 2u + u, so err q(k) <= (3k + 2) u. err w(k+1) <= err w(k) + err q(k) + u
<= err w(k) + 3 (k + 1) u, so err w(k) <= 2 (k + 1)^2 u. With K + 1 entries the sum w(0) + 2 (w(1) + ... + w(K)), which
is at least 1, and every partial sum are within 2 (K + 1)^3 u; each F(k) = P(|X| <= k), a quotient of two of them, is
therefore within 4 (K + 1)^3 u of its exact value among |X| <= K, and within 2^-511 more after it is rounded down.
Cutting at K leaves out P(|X| > K) <= 2 exp(-(K+1)^2 / (2 sigma^2)) <= 2^-511, as K + 1 >= sigma sqrt(2 * 512 ln 2).
This is Chernoff's bound: E exp(tX) = exp(t^2 sigma^2 / 2) times a shifted sum of w over the unshifted one, which is at
most one by Poisson's summation, so X is subgaussian with the parameter of the continuous Gaussian.
"""

import math
from decimal import Context, Decimal
from fractions import Fraction
from itertools import accumulate
from typing import Final

DRAW_BITS: Final = 511  # of one draw of |X|: 63 in a first word, 448 more that are read when the first word ties
_FIXED_BITS: Final = 576
_TAIL_SIGMAS: Final = 26.65  # sqrt(2 * 512 ln 2) = 26.642
_CONTEXT: Final = Context(prec=200)


def last_index(variance: Fraction) -> int:
    """K, the largest magnitude of the table."""
    return math.ceil(_TAIL_SIGMAS * math.sqrt(variance))


def cdf(variance: Fraction) -> list[int]:
    """Thresholds t(0) <= ... <= t(K-1): |X| is the number of thresholds <= u, for u uniform on 0 .. 2^511 - 1.

    t(k) = floor(2^511 P(|X| <= k)); P(|X| <= K) is taken as one.
    """
    weights = _weights(variance, last_index(variance))
    doubled = [weights[0], *(2 * weight for weight in weights[1:])]
    sums = list(accumulate(doubled))
    return [(partial << DRAW_BITS) // sums[-1] for partial in sums[:-1]]


def total_variation(variance: Fraction) -> float:
    """Upper bound of the total variation distance of one draw from the table to the exact law.

    Half the L1 distance of two laws on 0 .. K is at most the sum of |F - F'| over its K thresholds, plus the tail.
    """
    last = last_index(variance)
    threshold = 2.0**-DRAW_BITS + 4.0 * float(last + 1) ** 3 * 2.0**-_FIXED_BITS
    return (last * threshold + 2.0**-DRAW_BITS) * (1 + 1e-9)  # the last factor: rounding of these floats


def _weights(variance: Fraction, last: int) -> list[int]:
    exponent = _CONTEXT.divide(Decimal(-variance.denominator), Decimal(variance.numerator))
    ratio = _fixed(_CONTEXT.exp(exponent))
    step = _fixed(_CONTEXT.exp(_CONTEXT.divide(exponent, Decimal(2))))
    weight = 1 << _FIXED_BITS
    weights = [weight]
    for _ in range(last):
        weight = (weight * step) >> _FIXED_BITS
        step = (step * ratio) >> _FIXED_BITS
        weights.append(weight)
    return weights


def _fixed(value: Decimal) -> int:
    return int(_CONTEXT.multiply(value, Decimal(1 << _FIXED_BITS)))
