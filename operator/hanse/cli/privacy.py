"""What a private job asks and spends, before anything is submitted. `hanse check` prints it, `acceptance` judges it.

The operator decides; this is its judgement (`hanse.api.terms`, `hanse.dp`) on the Participants and PrivacyBudgets that
are in the files. What a budget still holds is in the owners' ledgers and not known here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from hanse.api.budget import PrivacyBudgetSpec
from hanse.api.conditions import Reason
from hanse.api.job import FederatedJobSpec
from hanse.api.participant import Dataset, ParticipantSpec
from hanse.api.privacy import ACCOUNTANT, Adversary, PrivacyPlan
from hanse.api.terms import Ask, Budget, app_objections, objections, schema_objections
from hanse.cli.yamlfiles import Location
from hanse.dp import AccountingError, resolve

Owners = Mapping[tuple[str, str], ParticipantSpec]
Budgets = Mapping[tuple[str, str], PrivacyBudgetSpec]

#: The noise does not depend on the number of records.
_ANY_RECORDS = 1


@dataclass(frozen=True)
class Finding:
    """Where (below the object), what, the next step, and the reason that the operator gives."""

    location: Location
    message: str
    next_step: str
    reason: Reason


def findings(spec: FederatedJobSpec, owners: Owners, budgets: Budgets) -> Iterator[Finding]:
    """What the operator would refuse for privacy's sake, given what is in the files."""
    plan = None
    try:
        plan = plan_of(spec)
    except AccountingError as error:
        yield Finding(("spec", "privacy", "differentialPrivacy"), str(error), "Ask for another.", Reason.INVALID_SPEC)
    for each in app_objections(spec):
        yield Finding(("spec", "privacy", "differentialPrivacy"), each.message, _sentence(each.next_step), each.reason)
    ask = Ask.of_spec(spec, float(plan.epsilon) if plan is not None else None)
    used: dict[str, Dataset] = {}
    for index, member in enumerate(spec.participants):
        ref = member.participant_ref
        owner = owners.get((ref.namespace, ref.name))
        dataset = owner.dataset(member.dataset) if owner is not None else None
        if owner is None or dataset is None:
            continue
        used[member.name] = dataset
        budget = Budget(budgets.get((ref.namespace, dataset.population or "")))
        for each in objections(ask, f"{ref.namespace}/{ref.name}", owner.policy, dataset, budget):
            where: Location = ("spec", "participants", index, "participantRef")
            yield Finding(where, each.message, _sentence(each.next_step), each.reason)
    if ask.privacy is not None and ask.privacy.columns:
        schemas = {name: dataset.schema_ for name, dataset in used.items() if dataset.schema_ is not None}
        for each in schema_objections(schemas):
            yield Finding(("spec", "participants"), each.message, _sentence(each.next_step), each.reason)


def plan_of(spec: FederatedJobSpec) -> PrivacyPlan | None:
    """The plan of the job but for each owner's own part; None without privacy. Raises AccountingError."""
    wanted = spec.differential_privacy
    if wanted is None:
        return None
    return resolve(wanted, spec.rounds, _ANY_RECORDS)


def describe(plan: PrivacyPlan) -> str:
    """What a plan costs at most, with all that the number needs to mean something."""
    noises = [float(noise) for noise in plan.noise_multipliers]
    noise = f"{noises[0]:.4g}" if len(set(noises)) == 1 else f"{noises[0]:.4g} to {noises[-1]:.4g}"
    return (
        f"epsilon {float(plan.epsilon):.4g} at most (unit {plan.unit}, adjacency {plan.adjacency}, delta {plan.delta}, "
        f"adversaries {', '.join(get_args(Adversary))}, accountant {ACCOUNTANT}): noise multiplier {noise}, "
        f"{len(plan.slots())} releases in {plan.rounds} rounds by each participant"
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
