"""Plans and requests for the tests of hanse.dp."""

from collections.abc import Iterable
from typing import Any

from hanse.api.privacy import DifferentialPrivacy, PrivacyPlan, Slot
from hanse.dp import resolve

DELTA = 1e-5
#: A tenth for statistics, a fifth for evaluations after every third round and the last.
SHARES: dict[str, Any] = {
    "statistics": {"epsilon_share": "0.1"},
    "evaluation": {"epsilon_share": "0.2", "every_rounds": 3},
}


def asked(unit: str = "Silo", **fields: Any) -> DifferentialPrivacy:
    """A request at delta 1e-5; unit Record samples one in twenty unless told."""
    base: dict[str, Any] = {"unit": unit, "delta": "1e-5", "clip": "1"}
    if unit == "Record":
        base["sample_rate"] = "0.05"
    return DifferentialPrivacy.model_validate({**base, **fields})


def plan(unit: str = "Silo", rounds: int = 10, records: int | None = 8000, **fields: Any) -> PrivacyPlan:
    """What the request resolves to; epsilon 3 unless told."""
    if "noise_multiplier" not in fields:
        fields.setdefault("epsilon", "3")
    return resolve(asked(unit, **fields), rounds, records)


def with_noise(slots: Iterable[Slot], grid_sigma: float) -> list[tuple[Slot, float]]:
    """Releases that all have the same noise, in grid steps."""
    return [(slot, grid_sigma) for slot in slots]
