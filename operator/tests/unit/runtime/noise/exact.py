"""The discrete Gaussian's CDF by rational interval arithmetic: the reference that the table is compared with.

Nothing here is shared with `hanse.runtime.noise.table`: exponentials are alternating Taylor series over fractions,
rounded outwards, and every weight is its own power.
"""

from fractions import Fraction
from typing import Final

_BITS: Final = 1400


def _down(value: Fraction) -> Fraction:
    return Fraction((value.numerator << _BITS) // value.denominator, 1 << _BITS)


def _up(value: Fraction) -> Fraction:
    return -_down(-value)


def exp_of_minus(x: Fraction) -> tuple[Fraction, Fraction]:
    """A lower and an upper bound of e^-x, for x >= 0."""
    halvings = 0
    while x > 1:
        x, halvings = x / 2, halvings + 1
    term, total, index = Fraction(1), Fraction(1), 0
    bounds = [total, total]
    # Terms shrink and alternate, so neighbouring partial sums bracket the limit.
    while term > Fraction(1, 1 << _BITS):
        index += 1
        term = _up(term * x / index) if index % 2 else _down(term * x / index)
        total = total - term if index % 2 else total + term
        bounds[index % 2] = total
    error = Fraction(index, 1 << (_BITS - 4))  # of the roundings above
    low, high = min(bounds) - error, max(bounds) + error
    for _ in range(halvings):
        low, high = _down(low * low), _up(high * high)
    return max(low, Fraction(0)), high


def cdf(variance: Fraction, last: int) -> list[tuple[Fraction, Fraction]]:
    """Bounds of P(|X| <= k) for k = 0 .. last, where X is conditioned on |X| <= last."""
    low, high = exp_of_minus(1 / (2 * variance))
    low_square, high_square = _down(low * low), _up(high * high)
    step = (low, high)  # e^(-(2k+1) / (2 sigma^2))
    weight = (Fraction(1), Fraction(1))
    sums = [weight]
    for _ in range(last):
        weight = (_down(weight[0] * step[0]), _up(weight[1] * step[1]))
        step = (_down(step[0] * low_square), _up(step[1] * high_square))
        sums.append((sums[-1][0] + 2 * weight[0], sums[-1][1] + 2 * weight[1]))
    return [(below / sums[-1][1], above / sums[-1][0]) for below, above in sums]
