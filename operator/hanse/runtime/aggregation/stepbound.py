"""How far an honest global model can step in a round; the gate refuses a private job's model that steps further.

An update's norm is bounded by clip, noise and dimension (`largest_update`). FedAvg and FedProx step by a convex mean of
updates, so no further than the largest. For the adaptive strategies let m and v be the moments, delta_s the mean
updates, b1 and b2 the decays, and j = t - s. Then for each entry:

FedAdam (v_t = (1 - b2) sum b2^j delta_s^2), by Cauchy and Schwarz:
    |m_t| <= (1 - b1) sqrt(sum (b1^2 / b2)^j) sqrt(sum b2^j delta_s^2) = K sqrt(v_t),
    K = (1 - b1) / sqrt(1 - b2) * sqrt(sum over j < t of (b1^2 / b2)^j).
FedYogi (v grows by (1 - b2) delta^2 where it is below delta^2, else shrinks by as much): v_t >= b2 v_(t-1), and
    v_t >= min(b2, 1 - b2) delta_t^2, so delta_s^2 <= v_t / (min(b2, 1 - b2) b2^j) and
    K = (1 - b1) / sqrt(min(b2, 1 - b2)) * sum over j < t of (b1 / sqrt(b2))^j.

A step is rate * m / (sqrt(v) + tau): at most rate * K in an entry, and at most rate / tau * largest update as a vector.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hanse.api.aggregation import Aggregation
from hanse.api.compression import Compression
from hanse.api.privacy import PrivacyPlan
from hanse.runtime.aggregation.arrays import AggregationError
from hanse.runtime.aggregation.fedopt import Hyperparameters
from hanse.runtime.codec import Codec, Layout, PublicSeed

_ADAPTIVE: Final = ("FedAdam", "FedYogi")
_DEFAULTS: Final = Hyperparameters()


class StepTooLargeError(AggregationError):
    """A global model steps further than honest rounds can."""


def largest_update(
    layout: Layout,
    plan: PrivacyPlan,
    compression: Compression | None = None,
    *,
    rate: float = 1.0,
    smallest_batch: int = 1,
) -> float:
    """The largest L2 norm of a decoded update in any round, as a difference of models.

    For unit Record an update is `rate` times the received sum over the participant's expected batch, whose smallest
    over the participants is `smallest_batch`. Raises what `Codec.of` raises.
    """
    largest = 0.0
    # A schedule repeats multipliers; each distinct one is tried once.
    for number in {multiplier: index for index, multiplier in enumerate(plan.noise_multipliers, 1)}.values():
        codec = Codec.of(layout, PublicSeed("", number, 1), plan, compression)
        assert codec.grid is not None
        reach = codec.grid.reach(plan.rounds * plan.max_attempts)
        largest = max(largest, reach * codec.grid.step * codec.amplification)
    return largest * rate / smallest_batch if plan.unit == "Record" else largest


def largest_step(spec: Aggregation, update: float, parameters: int, steps: int) -> float:
    """The largest L2 step of the global model in the server's step number `steps` (from 1), or in any before it.

    `update` is `largest_update`, `parameters` the size of the shared vector.
    """
    if spec.strategy not in _ADAPTIVE:
        return update
    beta1, beta2 = _number(spec.beta1, _DEFAULTS.beta1), _number(spec.beta2, _DEFAULTS.beta2)
    tau = _number(spec.tau, _DEFAULTS.tau)
    adam = spec.strategy == "FedAdam"
    entry = _adam_ratio(beta1, beta2, steps) if adam else _yogi_ratio(beta1, beta2, steps)
    correction = max(_adam_rate(beta1, beta2, step) for step in range(1, steps + 1)) if adam else 1.0
    rate = _number(spec.server_learning_rate, _DEFAULTS.learning_rate) * correction
    return rate * min(entry * math.sqrt(parameters), update / tau)


def check_step(before: NDArray[np.float64], after: NDArray[np.float64], bound: float, precision: float) -> None:
    """Raise StepTooLargeError unless |after - before| <= `bound`, or if a value is not finite.

    Vectors of the layout. `precision` is the layout's: each model was rounded to its dtype.
    """
    step = float(np.linalg.norm(after - before))
    allowed = bound * (1 + precision) + precision * float(np.linalg.norm(before))
    if not step <= allowed:  # NaN is refused, too
        raise StepTooLargeError(f"the model stepped by {step:.4g}, honest rounds by {allowed:.4g} at most")


def _adam_rate(beta1: float, beta2: float, step: int) -> float:
    """FedAdam's bias correction, with Flower's exponent (see `fedopt`)."""
    return math.sqrt(1 - math.pow(beta2, step + 1)) / (1 - math.pow(beta1, step + 1))


def _adam_ratio(beta1: float, beta2: float, steps: int) -> float:
    if beta2 == 0:
        # v is the last squared update alone and says nothing about older ones in m.
        return 1.0 if beta1 == 0 else math.inf
    return (1 - beta1) / math.sqrt(1 - beta2) * math.sqrt(_geometric(beta1 * beta1 / beta2, steps))


def _yogi_ratio(beta1: float, beta2: float, steps: int) -> float:
    if beta2 == 0:
        return math.inf
    return (1 - beta1) / math.sqrt(min(beta2, 1 - beta2)) * _geometric(beta1 / math.sqrt(beta2), steps)


def _geometric(ratio: float, terms: int) -> float:
    """1 + ratio + ... with so many terms; infinity when it is beyond the largest float."""
    try:
        return math.fsum(math.pow(ratio, j) for j in range(terms))
    except OverflowError:
        return math.inf


def _number(text: str | None, default: float) -> float:
    return default if text is None else float(text)
