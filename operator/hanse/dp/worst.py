"""What a whole plan costs at most, against each adversary. Asked at acceptance, by operator and command line."""

from functools import lru_cache
from typing import get_args

from hanse.api.privacy import Adversary, PrivacyPlan
from hanse.dp.plan import epsilons
from hanse.dp.shares import unknown_shares


def worst_epsilons(plan: PrivacyPlan) -> dict[Adversary, float]:
    """Epsilon of all that the plan pays for, at its delta.

    With mechanism Local it is the one that was asked for, which the accountant's stays a little below. Raises
    UnknownRelease for a plan that nobody can account for. Kept: an owner's terms are looked at again and again.
    """
    if plan.mechanism == "Local":
        return dict.fromkeys(get_args(Adversary), float(plan.epsilon))
    shared = plan.for_owner(None, "ServerAndOne")
    return dict(_distributed(shared.model_dump_json(by_alias=True, exclude_none=True)))


@lru_cache(maxsize=256)
def _distributed(plan: str) -> tuple[tuple[Adversary, float], ...]:
    found = PrivacyPlan.model_validate_json(plan)
    known = epsilons(found, found.slots())
    # Where the calibration is met, the epsilon that was asked for: the accountant's stays a little below.
    calibrated = {adversary for adversary in known if unknown_shares(found, adversary) == found.shares}
    return tuple((each, float(found.epsilon) if each in calibrated else value) for each, value in known.items())
