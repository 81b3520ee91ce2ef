"""What the gate alone guarantees for unit Record. Called for the certificate."""

import math
from typing import Final

from hanse.api.privacy import PrivacyPlan, ReleaseKind
from hanse.dp.errors import UnknownRelease
from hanse.dp.rdp import convert

#: Orders for plain Gaussian releases, whose curve is known at every real order: also close to 1, for huge losses.
_FINE: Final = tuple(1 + 10 ** (step / 50) for step in range(-400, 176))


def enforced_epsilon(plan: PrivacyPlan, gate_clip: float, records: int | None = None) -> float:
    """What the gate alone guarantees for unit Record, whatever the trainer's image does: unit Silo, replaced.

    `gate_clip` is the L2 norm to which the gate projects a round's sum, in the unit of plan.clip: clip * expectedBatch.
    Replacing the whole silo moves the projected sum by twice that, sampling gives nothing, and the noise was made for
    one record. On the grid the noise is larger still: (C/g + sqrt(d)) z / (2B/g + sqrt(d)) >= z C / 2B for 2B >= C, so
    rounding does not break the bound. Histograms move by at most sqrt(2) times `records` times their sensitivity to
    one record, because the gate lets no count below 0 and no total above `records` pass (needed if there are any).
    Usually huge; with unit Silo it is the plan's own epsilon. Raises UnknownRelease, ValueError.
    """
    if plan.unit != "Record":
        raise UnknownRelease("the enforced epsilon of a Silo plan is its epsilon")
    clip = float(plan.clip)
    if gate_clip < clip:
        raise ValueError("the gate's clip is at least the clip of one record")
    rho = sum((2 * gate_clip / (clip * float(noise))) ** 2 / 2 for noise in plan.noise_multipliers)
    counts = [slot for slot in plan.slots() if slot.kind is not ReleaseKind.TRAIN and slot.attempt == 1]
    if counts and records is None:
        raise ValueError("histograms need the number of records")
    for slot in counts:
        part = plan.statistics if slot.kind is ReleaseKind.STATISTICS else plan.evaluation
        assert part is not None  # the plan has the slot
        rho += (math.sqrt(2) * (records or 0) / float(part.noise_multiplier)) ** 2 / 2
    rho *= plan.max_attempts
    return convert(((order, rho * order) for order in _FINE), float(plan.delta))
