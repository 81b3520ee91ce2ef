"""Neighbouring inputs at the edges of what the clips allow, and the plans that they are audited under."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hanse import dp
from hanse.api.privacy import DifferentialPrivacy, PrivacyPlan, Schedule, Unit

Vector = NDArray[np.float64]

SCHEDULES: dict[str, tuple[Schedule, int]] = {
    "one-release": (Schedule(), 1),
    "constant": (Schedule(kind="Constant"), 4),
    "linear": (Schedule(kind="Linear", final_ratio="0.5"), 4),
    "geometric": (Schedule(kind="Geometric", final_ratio="0.25"), 3),
    "list": (Schedule(kind="List", multipliers=["1", "3", "0.7"]), 3),
}
RECORDS = 40


def resolved(unit: Unit, schedule: str = "one-release", *, epsilon: str = "2.0", rate: str = "1.0") -> PrivacyPlan:
    """The plan of a job as the operator makes it."""
    asked, rounds = SCHEDULES[schedule]
    fields: dict[str, Any] = {"unit": unit, "epsilon": epsilon, "delta": "1e-5", "clip": "0.5", "schedule": asked}
    if unit == "Record":
        fields["sample_rate"] = rate
    return dp.resolve(DifferentialPrivacy(**fields), rounds, RECORDS)


def claim(plan: PrivacyPlan) -> float:
    """The epsilon of everything that the plan releases."""
    return dp.epsilon(dp.plan_rdp(plan), float(plan.delta))


def silos(lanes: int, rounds: int, length: float = 1000.0) -> tuple[list[tuple[Vector, Vector]], ...]:
    """Two silos whose updates are opposite and far beyond the clip."""
    direction = np.full(lanes, length / np.sqrt(lanes))
    return [(direction, direction)] * rounds, [(-direction, -direction)] * rounds


def records(lanes: int, rounds: int, base: float = 0.0, clip: float = 0.5) -> tuple[list[tuple[Vector, Vector]], ...]:
    """A sum of other records' gradients, without and with one record of the largest gradient."""
    total = np.full(lanes, base)
    one = np.full(lanes, clip / np.sqrt(lanes))
    return [(total, total)] * rounds, [(total, total + one)] * rounds
