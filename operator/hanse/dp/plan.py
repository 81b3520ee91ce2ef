"""What a plan's releases cost: one, all of them, or those that were made. Called by ledgers and the certificate."""

from collections import Counter
from collections.abc import Iterable

from hanse.api.privacy import PrivacyPlan, ReleaseKind, Slot, Unit
from hanse.dp.errors import UnitsDiffer, UnknownRelease
from hanse.dp.rdp import Rdp, gaussian, subsampled_gaussian, weighted


def release_rdp(plan: PrivacyPlan, kind: ReleaseKind, number: int) -> Rdp:
    """Cost of one release of `kind` in round `number` (statistics: 0). Raises UnknownRelease if the plan has none."""
    if not plan.allows(Slot(kind, number, 1)):
        raise UnknownRelease(f"the plan has no release {kind.value} in round {number}")
    if kind is ReleaseKind.TRAIN:
        noise = float(plan.noise_multipliers[number - 1])
        if plan.unit == "Record" and plan.sample_rate is not None:
            return subsampled_gaussian(float(plan.sample_rate), noise)
        if plan.unit == "Silo" and plan.sample_rate is None:
            return gaussian(noise)
        raise UnknownRelease(f"unit {plan.unit} with sample rate {plan.sample_rate} is no known mechanism")
    if kind is ReleaseKind.STATISTICS and plan.statistics is not None:
        return gaussian(float(plan.statistics.noise_multiplier))
    if kind is ReleaseKind.EVALUATE and plan.evaluation is not None:
        return gaussian(float(plan.evaluation.noise_multiplier))
    raise UnknownRelease(f"{kind.value} is no known release")


def spent_rdp(plan: PrivacyPlan, releases: Iterable[Slot]) -> Rdp:
    """Cost of the releases that were made. Raises UnknownRelease for one that the plan does not pay, or made twice."""
    made = list(releases)
    if len(set(made)) != len(made):
        raise UnknownRelease("one slot is listed twice")
    if outside := [slot.key for slot in made if not plan.allows(slot)]:
        raise UnknownRelease(f"the plan does not pay for {', '.join(sorted(outside)[:3])}")
    rounds = Counter((slot.kind, slot.round) for slot in made)
    return weighted((release_rdp(plan, *key), count) for key, count in rounds.items())


def plan_rdp(plan: PrivacyPlan, rounds: int | None = None) -> Rdp:
    """Worst case of the first `rounds` rounds (all): every attempt of every release that the plan pays for."""
    last = plan.rounds if rounds is None else rounds
    return spent_rdp(plan, (slot for slot in plan.slots() if slot.round <= last))


def check_units(job: Unit, budget: Unit) -> None:
    """Whether a job's loss can be charged as it is. Raises UnitsDiffer where it cannot.

    Hiding a silo's whole data hides each record in it, so a Silo job counts fully against a Record budget. The other
    way would need group privacy over all records of the silo, which no useful epsilon survives.
    """
    if job == "Record" and budget == "Silo":
        raise UnitsDiffer("a budget of unit Silo cannot be charged for a job of unit Record: it hides less")
