"""What the gate alone guarantees for unit Record, whatever the trainer's image does. Called for the certificate."""

from collections.abc import Iterable
from typing import Final

from hanse.dp.rdp import convert

#: Orders for plain Gaussian releases, whose curve is known at every real order: also close to 1, for huge losses.
_FINE: Final = tuple(1 + 10 ** (step / 50) for step in range(-400, 176))


def enforced_epsilon(multipliers: Iterable[float], delta: float) -> float:
    """Epsilon of unit Silo (one silo's whole data replaced) at delta, from the gate's own bounds and noise.

    One multiplier for each release: the deviation of its noise over the largest L2 distance of any two values that the
    gate could have released in its place, both in grid steps (counts). For training that is
    `hanse.runtime.codec.Grid.enforced_multiplier`: sums are projected to clip * expectedBatch, and two of them may lie
    twice that apart. Sampling gives nothing here, because a hostile trainer does not sample.
    Usually huge: the noise was made for one record. Each release alone is a (discrete) Gaussian mechanism with
    rho = 1 / (2 multiplier^2), and rho adds up (Canonne, Kamath, Steinke 2020, Theorem 14). 0 for no release.
    Raises ValueError for a multiplier that is not above 0.
    """
    rho = 0.0
    for multiplier in multipliers:
        if not multiplier > 0:
            raise ValueError("a noise multiplier is above 0")
        rho += 1 / (2 * multiplier**2)
    return convert(((order, rho * order) for order in _FINE), delta)
