"""Finds the noise for an epsilon, by bracketing. Called by `resolve`, and by ledgers for `left_epsilon`."""

import math
from collections.abc import Callable
from decimal import ROUND_CEILING, Context, Decimal
from typing import Final

from hanse.dp.errors import Unreachable
from hanse.dp.rdp import Rdp, compose, epsilon, floor, gaussian

#: Range of the scale that is searched. Below the low end nothing is hidden, above the high end nothing is learnt.
SCALE_MIN: Final = 1e-3
SCALE_MAX: Final = 1e6
#: A calibrated epsilon lies at most this far below what was asked, and never above it.
TOLERANCE: Final = 1e-5

_DIGITS: Final = Context(prec=9, rounding=ROUND_CEILING)


def decimal_noise(value: float) -> str:
    """`value` as a PositiveDecimal with 9 digits, never less than it is: noise is rounded up, so epsilon never is."""
    digits = _DIGITS.create_decimal(Decimal(repr(value)))  # repr: 1.1 stays 1.1
    places = min(12, max(0, -int(digits.as_tuple().exponent)))  # PositiveDecimal has no more
    return format(digits.quantize(Decimal(1).scaleb(-places), ROUND_CEILING), "f")


def smallest_scale(loss: Callable[[float], Rdp], asked: float, delta: float) -> float:
    """The smallest scale at which `loss(scale)` is at most epsilon `asked` at delta, up to TOLERANCE of epsilon.

    `loss` must fall with the scale. Bisection on log scale, helped by the secant (Illinois), because one step costs a
    thousand subsampled releases in a long schedule. Raises Unreachable with the reason.
    """
    if asked < floor(delta):
        raise Unreachable(
            f"epsilon {asked:g} is below what the accountant can tell at delta {delta:g}: ask for at least "
            f"{math.ceil(floor(delta) * 100) / 100:g}"
        )

    def over(log_scale: float) -> float:
        return epsilon(loss(math.exp(log_scale)), delta) - asked

    low, high = _bracket(over, asked)
    return math.exp(_narrow(over, low, high))


def _bracket(over: Callable[[float], float], asked: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Two points (log scale, epsilon over what was asked): one that is above 0, one that is not."""
    step = math.log(2)
    point = (0.0, over(0.0))
    below = point[1] <= 0
    end = math.log(SCALE_MIN if below else SCALE_MAX)
    while True:
        following = point[0] - step if below else point[0] + step
        if following < end if below else following > end:
            raise Unreachable(
                f"epsilon {asked:g} needs no noise at all: ask for less, or for no differential privacy"
                if below
                else f"no noise gives epsilon {asked:g}: ask for more"
            )
        value = over(following)
        if (value <= 0) != below:
            return ((following, value), point) if below else (point, (following, value))
        point = (following, value)


def _narrow(over: Callable[[float], float], low: tuple[float, float], high: tuple[float, float]) -> float:
    """A log scale whose epsilon is within TOLERANCE below what was asked; `low` is above it, `high` is not."""
    (a, over_a), (b, over_b) = low, high
    weight_a = weight_b = 1.0
    for turn in range(200):
        if over_b > -TOLERANCE or b - a < 1e-13:
            break
        secant = a + (b - a) * (over_a * weight_a) / (over_a * weight_a - over_b * weight_b)
        # every third step halves, whatever the curve looks like; the secant aims a little below what was asked
        middle = (a + b) / 2 if turn % 3 == 2 or not a < secant < b else secant
        value = over(middle)
        if value <= 0:
            b, over_b, weight_b, weight_a = middle, value, 1.0, weight_a / 2
        else:
            a, over_a, weight_a, weight_b = middle, value, 1.0, weight_b / 2
    return b


def left_epsilon(taken: Rdp, limit: float, delta: float) -> float:
    """The largest epsilon of one more release (Gaussian) with which `taken` still stays within `limit` at delta.

    Losses compose and do not add up, so this is not limit minus epsilon(taken). 0 if nothing fits. Never too much.
    """
    if epsilon(compose(taken, gaussian(SCALE_MAX)), delta) > limit:
        return 0.0
    try:
        scale = smallest_scale(lambda noise: compose(taken, gaussian(noise)), limit, delta)
    except Unreachable:
        return 0.0
    return epsilon(gaussian(scale), delta)
