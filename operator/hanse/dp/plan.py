"""What a plan's releases cost: one, all of them, or those that were made. Called by ledgers and the certificate."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import get_args

from hanse.api.privacy import Adversary, PrivacyPlan, ReleaseKind, Slot, Unit
from hanse.dp.errors import UnitsDiffer, UnknownRelease
from hanse.dp.rdp import Rdp, compose, epsilon, gaussian, subsampled_gaussian, weighted
from hanse.dp.shares import sum_shares, sum_term, unknown_shares


def release_rdp(plan: PrivacyPlan, kind: ReleaseKind, number: int, adversary: Adversary | None = None) -> Rdp:
    """Cost of one release of `kind` in round `number` (statistics: 0) against `adversary` (None: the plan's).

    Histograms carry the whole noise of each gate, whatever the mechanism. Raises UnknownRelease if the plan has none.
    """
    return _release(plan, kind, number, unknown_shares(plan, adversary or plan.adversary))


def _release(plan: PrivacyPlan, kind: ReleaseKind, number: int, shares: int) -> Rdp:
    """Cost of one release against who cannot take away `shares` shares of the noise."""
    if not plan.allows(Slot(kind, number, 1)):
        raise UnknownRelease(f"the plan has no release {kind.value} in round {number}")
    if kind is ReleaseKind.TRAIN:
        noise = float(plan.noise_multipliers[number - 1]) * math.sqrt(shares / sum_shares(plan))
        return compose(_trained(plan, noise), sum_term(shares))
    if kind is ReleaseKind.STATISTICS and plan.statistics is not None:
        return gaussian(float(plan.statistics.noise_multiplier))
    if kind is ReleaseKind.EVALUATE and plan.evaluation is not None:
        return gaussian(float(plan.evaluation.noise_multiplier))
    raise UnknownRelease(f"{kind.value} is no known release")


def _trained(plan: PrivacyPlan, noise: float) -> Rdp:
    if plan.unit == "Record" and plan.sample_rate is not None:
        return subsampled_gaussian(float(plan.sample_rate), noise)
    if plan.unit == "Silo" and plan.sample_rate is None:
        return gaussian(noise)
    raise UnknownRelease(f"unit {plan.unit} with sample rate {plan.sample_rate} is no known mechanism")


def spent_rdp(plan: PrivacyPlan, releases: Iterable[Slot], adversary: Adversary | None = None) -> Rdp:
    """Cost of the releases that were made, against `adversary` (None: the plan's, which is charged).

    Raises UnknownRelease for one that the plan does not pay, or made twice.
    """
    return _spent(plan, releases, unknown_shares(plan, adversary or plan.adversary))


def _spent(plan: PrivacyPlan, releases: Iterable[Slot], shares: int) -> Rdp:
    made = list(releases)
    if len(set(made)) != len(made):
        raise UnknownRelease("one slot is listed twice")
    if outside := [slot.key for slot in made if not plan.allows(slot)]:
        raise UnknownRelease(f"the plan does not pay for {', '.join(sorted(outside)[:3])}")
    # Rounds of one noise cost the same: hundreds of them are one computation.
    noises = Counter((slot.kind, _noise(plan, slot)) for slot in made)
    first = {(slot.kind, _noise(plan, slot)): slot for slot in reversed(made)}
    return weighted((_release(plan, first[key].kind, first[key].round, shares), count) for key, count in noises.items())


def _noise(plan: PrivacyPlan, slot: Slot) -> str:
    """What tells the costs of two releases of one kind apart."""
    return plan.noise_multipliers[slot.round - 1] if slot.kind is ReleaseKind.TRAIN else ""


def plan_rdp(plan: PrivacyPlan, rounds: int | None = None, adversary: Adversary | None = None) -> Rdp:
    """Worst case of the first `rounds` rounds (all): every attempt of every release that the plan pays for."""
    last = plan.rounds if rounds is None else rounds
    return spent_rdp(plan, (slot for slot in plan.slots() if slot.round <= last), adversary)


def sums_rdp(plan: PrivacyPlan) -> Rdp:
    """Worst case of the whole plan as it was calibrated: of sums, collusionThreshold shares of whose noise are known.

    What `PrivacyPlan.epsilon` says. With mechanism Local, and with a threshold of 0, it is that of outsiders.
    """
    return _spent(plan, plan.slots(), sum_shares(plan))


def epsilons(plan: PrivacyPlan, releases: Iterable[Slot]) -> dict[Adversary, float]:
    """Epsilon of the releases at the plan's delta against each adversary; raises as `spent_rdp` does.

    With mechanism Local it is one number: each of them sees every update alone.
    """
    made, delta = list(releases), float(plan.delta)
    by_shares: dict[int, float] = {}
    found: dict[Adversary, float] = {}
    for adversary in get_args(Adversary):
        shares = unknown_shares(plan, adversary)
        if shares not in by_shares:
            by_shares[shares] = epsilon(_spent(plan, made, shares), delta)
        found[adversary] = by_shares[shares]
    return found


def check_units(job: Unit, budget: Unit) -> None:
    """Whether a job's loss can be charged as it is. Raises UnitsDiffer where it cannot.

    Hiding a silo's whole data hides each record in it, so a Silo job counts fully against a Record budget. The other
    way would need group privacy over all records of the silo, which no useful epsilon survives.
    """
    if job == "Record" and budget == "Silo":
        raise UnitsDiffer("a budget of unit Silo cannot be charged for a job of unit Record: it hides less")
