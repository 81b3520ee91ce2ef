"""Copies of a budget's cost, and how a budget that was made anew or restored from a backup gets it back. Pure.

A copy is written after the status that it copies, and before any gate may start: what leaves a gate is at most the
worst case that the copy holds. So the largest of all copies is never below what was spent.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from hanse.api.budget import MAX_DIGESTS, DatasetSeen, PrivacyBudgetStatus
from hanse.controller.reconcile.model import Mirror
from hanse.dp.book import folded_rdp, stored, total_worst
from hanse.dp.rdp import parse

KEY: Final = "budget.json"
#: Vectors are rounded up in their 12th digit.
_SAME: Final = 1 - 1e-9


def mirror_of(uid: str, status: PrivacyBudgetStatus, unit: str = "") -> Mirror:
    """The copy that belongs to a status."""
    return Mirror(
        uid=uid,
        pages=status.pages,
        folded=tuple(map(float, stored(folded_rdp(status)))),
        worst=tuple(map(float, stored(total_worst(status)))),
        entries=status.entries,
        chain_head=status.chain_head,
        datasets={key: seen.to_wire() for key, seen in status.datasets.items() if seen.population is None},
        unit=unit,
    )


def read_mirror(raw: Mapping[str, Any]) -> Mirror:
    """The copy in a ConfigMap.

    Raises:
        ValueError: somebody has changed it so that it cannot be read.
    """
    try:
        found = json.loads(raw["data"][KEY])
        return Mirror(
            uid=str(found["uid"]),
            pages=int(found["pages"]),
            folded=parse(found["folded"]),
            worst=parse(found["worst"]),
            entries=int(found["entries"]),
            chain_head=found.get("chainHead"),
            datasets={k: DatasetSeen.model_validate(v).to_wire() for k, v in found.get("datasets", {}).items()},
            unit=str(found.get("unit", "")),
            resource_version=str(raw["metadata"].get("resourceVersion", "")),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{error!r}") from error


def with_foreign(status: PrivacyBudgetStatus, foreign: Mapping[str, Mirror]) -> PrivacyBudgetStatus:
    """The status with the data of the owner's other budgets, also of deleted ones: it is refused here.

    What this budget has used itself stays its own.
    """
    noted = {
        key: DatasetSeen.model_validate({**seen, "population": population})
        for population, mirror in sorted(foreign.items())
        for key, seen in mirror.datasets.items()
        if key not in status.datasets
    }
    room = dict(list(noted.items())[: max(0, MAX_DIGESTS - len(status.datasets))])
    made: PrivacyBudgetStatus = status.model_copy(update={"datasets": {**status.datasets, **room}})
    return made


def covers(mirror: Mirror | None, uid: str, status: PrivacyBudgetStatus) -> bool:
    """Whether a copy holds at least what this status can come to."""
    if mirror is None or mirror.uid != uid or mirror.pages > status.pages:
        return False
    return _at_least(mirror.worst, total_worst(status))


def is_behind(uid: str, status: PrivacyBudgetStatus, mirror: Mirror | None) -> bool:
    """Whether a budget has forgotten something that a copy knows."""
    if mirror is None:
        return False
    if not mirror.datasets.keys() <= status.datasets.keys():
        return True
    if mirror.uid != uid:
        return not _at_least(folded_rdp(status), mirror.worst)
    if mirror.pages > status.pages:
        return True
    return mirror.pages == status.pages and not _at_least(total_worst(status), mirror.worst)


def restored(status: PrivacyBudgetStatus, mirror: Mirror) -> PrivacyBudgetStatus:
    """The status with all that the copy knows: reservations of the predecessor count as spent."""
    worst = tuple(max(a, b) for a, b in zip(folded_rdp(status), mirror.worst, strict=True))
    datasets = {key: DatasetSeen.model_validate(seen) for key, seen in mirror.datasets.items()}
    update = {
        "folded": stored(worst, at_least=status.folded),
        "pages": max(status.pages, mirror.pages),
        "entries": max(status.entries, mirror.entries),
        "chain_head": mirror.chain_head if mirror.pages >= status.pages else status.chain_head,
        "datasets": {**datasets, **status.datasets},
    }
    made: PrivacyBudgetStatus = status.model_copy(update=update)
    return made


def _at_least(larger: tuple[float, ...], smaller: tuple[float, ...]) -> bool:
    return all(a >= b * _SAME for a, b in zip(larger, smaller, strict=True))
