"""The figures of a certificate, from its plan and its releases alone. The gate writes them, `hanse certificate` checks.

A certificate holds all that they are computed from, so anybody can do it again, offline.
"""

import math
from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Final, get_args

from hanse.api import names
from hanse.api.certificate import Certificate, CertifiedEpsilon, CertifiedRelease
from hanse.api.privacy import ACCOUNTANT, Adversary, PrivacyPlan, ReleaseKind, Slot, adjacency
from hanse.dp.bounds import enforced_epsilon
from hanse.dp.errors import AccountingError
from hanse.dp.plan import plan_rdp, spent_rdp
from hanse.dp.rdp import epsilon
from hanse.dp.reference import pld_epsilon
from hanse.dp.shares import unknown_shares

_DIGITS: Final = 12
#: Between two machines' floating point.
_TOLERANCE: Final = 1e-9


def figures(plan: PrivacyPlan, releases: Sequence[CertifiedRelease]) -> list[CertifiedEpsilon]:
    """Released, Reserved and, for unit Record, Enforced, against each group of adversaries; epsilons are rounded up.

    With mechanism Local every adversary sees each update alone: each figure counts for all of them. With Distributed
    those who cannot take away equally many shares of the noise are one group, the one that is charged first.
    Raises AccountingError for releases that the plan does not have, ValueError for one without its bound.
    """
    delta = float(plan.delta)
    slots = [Slot.parse(each.slot) for each in releases]
    made = []
    for shares, group in groups(plan).items():
        spent, worst = spent_rdp(plan, slots, group[0]), plan_rdp(plan, adversary=group[0])
        made += [_figure(plan, "Released", epsilon(spent, delta), group)]
        made += [_figure(plan, "Reserved", epsilon(worst, delta), group)]
        if plan.unit == "Record":
            multipliers = [_enforced(each, shares) for each in releases]
            made += [_figure(plan, "Enforced", enforced_epsilon(multipliers, delta), group)]
    return made


def groups(plan: PrivacyPlan) -> dict[int, list[Adversary]]:
    """The adversaries by how many shares of the noise they cannot take away; the one that is charged comes first."""
    found: dict[int, list[Adversary]] = {unknown_shares(plan, plan.adversary): []}
    for adversary in get_args(Adversary):
        found.setdefault(unknown_shares(plan, adversary), []).append(adversary)
    return found


def _enforced(release: CertifiedRelease, shares: int) -> float:
    """A release's multiplier with `shares` shares of the noise; histograms carry the whole noise of their gate."""
    several = Slot.parse(release.slot).kind is ReleaseKind.TRAIN
    return float(release.enforced_multiplier or 0) * (math.sqrt(shares) if several else 1.0)


def multiplier_text(value: float) -> str:
    """A noise multiplier or deviation as a certificate has it: rounded down, so that its epsilon is rounded up."""
    return _text(value, ROUND_FLOOR)


def objections(certificate: Certificate) -> Iterator[str]:
    """What a certificate says and its own plan and releases do not bear out. Empty for an honest one."""
    plan, job = certificate.plan, certificate.job
    slots = [Slot.parse(each.slot) for each in certificate.releases]
    expected = {
        "mechanism": (certificate.mechanism, plan.mechanism),
        "plan.adjacency": (plan.adjacency, adjacency(plan.unit)),
        "attempts": (certificate.attempts, len(slots)),
        "rounds": (certificate.rounds, len({slot.round for slot in slots} - {0})),
        "account": (certificate.account, names.account_id(job.uid, certificate.participant)),
        "participation": (
            certificate.participation,
            names.participation_name(job.name, certificate.participant, job.uid),
        ),
    }
    yield from (f"{field} is {told}, not {true}" for field, (told, true) in expected.items() if told != true)
    try:
        true_figures = figures(plan, certificate.releases)
    except (AccountingError, ValueError) as error:
        yield f"releases: {error}"
        return
    if len(true_figures) != len(certificate.epsilons):
        yield f"{len(certificate.epsilons)} epsilons, not {len(true_figures)}"
        return
    for told, true in zip(certificate.epsilons, true_figures, strict=True):
        if told.model_copy(update={"epsilon": true.epsilon}) != true or not _close(told.epsilon, true.epsilon):
            yield f"epsilon {true.claim} is {true.epsilon} when computed again, the certificate says {told.epsilon}"


def pld(certificate: Certificate, adversary: Adversary | None = None) -> float:
    """Epsilon Released by privacy loss distributions, mostly tighter: see `reference.pld_epsilon`, which raises.

    Against `adversary` (None: the one that is charged).
    """
    releases = certificate.releases
    noises = [(Slot.parse(each.slot), float(each.noise)) for each in releases]
    return pld_epsilon(certificate.plan, noises, sum(each.values for each in releases), adversary)


def _figure(plan: PrivacyPlan, claim: str, value: float, adversaries: Sequence[Adversary]) -> CertifiedEpsilon:
    unit = "Silo" if claim == "Enforced" else plan.unit
    return CertifiedEpsilon.model_validate(
        {
            "claim": claim,
            "epsilon": _text(value, ROUND_CEILING),
            "delta": plan.delta,
            "unit": unit,
            "adjacency": adjacency(unit),
            "adversaries": list(adversaries),
            "accountant": ACCOUNTANT,
        }
    )


def _text(value: float, rounding: str) -> str:
    """A PositiveDecimal; also above the 10^12 to which the ledger's numbers end."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{Context(prec=_DIGITS, rounding=rounding).create_decimal(Decimal(value)):e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _close(told: str, true: str) -> bool:
    return abs(float(told) - float(true)) <= _TOLERANCE * float(true)
