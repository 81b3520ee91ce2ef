"""Conditions as a set, one for each type; the transition time moves only when the status does. Used by all plans."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from hanse.api.conditions import Condition, ConditionStatus, Reason
from hanse.api.meta import clip_message


class ConditionSet:
    """Conditions under construction: starts from the ones that are stored, then `set` for each that is known."""

    def __init__(self, stored: Iterable[Condition], types: type[StrEnum], generation: int, now: datetime) -> None:
        self._generation = generation
        self._now = now
        self._by_type = {c.type: c for c in stored}
        self._order = [str(t) for t in types]
        for name in self._order:
            if name not in self._by_type:
                self.set(name, "Unknown", Reason.PENDING, "not known yet")

    def set(self, name: str, status: ConditionStatus, reason: str, message: str) -> None:
        """Set one condition."""
        known = self._by_type.get(str(name))
        moved = known is None or known.status != status
        self._by_type[str(name)] = Condition(
            type=str(name),
            status=status,
            observed_generation=self._generation,
            last_transition_time=self._now if moved or known is None else known.last_transition_time,
            reason=str(reason),
            message=clip_message(message),
        )

    def is_true(self, name: str) -> bool:
        """Whether a condition holds."""
        return self._by_type[str(name)].status == "True"

    def get(self, name: str) -> Condition:
        """One condition."""
        return self._by_type[str(name)]

    def all(self) -> list[Condition]:
        """In the order of their enum."""
        return [self._by_type[name] for name in self._order]


def find(conditions: Iterable[Condition], name: str) -> Condition | None:
    """The condition of that type."""
    return next((c for c in conditions if c.type == str(name)), None)


def holds(conditions: Iterable[Condition], name: str) -> bool:
    """Whether a condition is True."""
    found = find(conditions, name)
    return found is not None and found.status == "True"
