"""What a private job asks and spends, before anything is submitted. `hanse check` prints it, `acceptance` judges it.

The operator decides; this is its judgement (`hanse.api.terms`, `hanse.dp`) on the Participants and PrivacyBudgets that
are in the files. What a budget still holds is in the owners' ledgers and not known here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hanse.api.budget import PrivacyBudgetSpec
from hanse.api.conditions import Reason
from hanse.api.encryption import keeps_halves_apart, least_votes
from hanse.api.encryptionterms import signer_objections
from hanse.api.job import FederatedJobSpec
from hanse.api.participant import Dataset, ParticipantSpec
from hanse.api.privacy import ACCOUNTANT, PrivacyPlan
from hanse.api.terms import Ask, Budget, app_objections, compares_schemas, objections, schema_objections
from hanse.cli.yamlfiles import Location
from hanse.dp import AccountingError, resolve
from hanse.dp.worst import worst_epsilons

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
    ask = Ask.of_spec(spec, worst_epsilons(plan) if plan is not None else None)
    used: dict[str, Dataset] = {}
    for index, member in enumerate(spec.participants):
        ref = member.participant_ref
        owner = owners.get((ref.namespace, ref.name))
        dataset = owner.dataset(member.dataset) if owner is not None else None
        if owner is None or dataset is None:
            continue
        used[member.name] = dataset
        budget = Budget(budgets.get((ref.namespace, dataset.population or "")))
        for each in objections(ask, f"{ref.namespace}/{ref.name}", owner, dataset, budget):
            where: Location = ("spec", "participants", index, "participantRef")
            yield Finding(where, each.message, _sentence(each.next_step), each.reason)
    if spec.encryption is not None:
        # An owner has one identity in its namespace, and beside its ledgers here.
        for each in signer_objections({m.name: m.participant_ref.namespace for m in spec.participants}):
            yield Finding(("spec", "participants"), each.message, _sentence(each.next_step), each.reason)
    if compares_schemas(spec):
        schemas = {name: dataset.schema_ for name, dataset in used.items() if dataset.schema_ is not None}
        for each in schema_objections(schemas):
            yield Finding(("spec", "participants"), each.message, _sentence(each.next_step), each.reason)


def plan_of(spec: FederatedJobSpec) -> PrivacyPlan | None:
    """The plan of the job but for each owner's own part; None without privacy. Raises AccountingError."""
    wanted = spec.differential_privacy
    if wanted is None or spec.privacy is None:
        return None
    distributed = wanted.mechanism == "Distributed"
    return resolve(
        wanted,
        spec.rounds,
        _ANY_RECORDS,
        quorum=spec.effective_quorum if distributed else None,
        collusion_threshold=spec.privacy.collusion_threshold if distributed else 0,
    )


def describe(plan: PrivacyPlan) -> str:
    """What a plan costs at most, with all that the number needs to mean something."""
    noises = [float(noise) for noise in plan.noise_multipliers]
    noise = f"{noises[0]:.4g}" if len(set(noises)) == 1 else f"{noises[0]:.4g} to {noises[-1]:.4g}"
    return (
        f"epsilon {_against(plan)} at most (mechanism {plan.mechanism}, unit {plan.unit}, adjacency {plan.adjacency}, "
        f"delta {plan.delta}, accountant {ACCOUNTANT}): noise multiplier {noise}, {len(plan.slots())} releases in "
        f"{plan.rounds} rounds by each participant"
    )


def _against(plan: PrivacyPlan) -> str:
    """`3 against Outsiders, CollusionThreshold; 4.2 against OneParticipant`: one entry for each figure."""
    by_figure: dict[str, list[str]] = {}
    for adversary, value in worst_epsilons(plan).items():
        by_figure.setdefault(f"{value:.4g}", []).append(adversary)
    return "; ".join(f"{figure} against {', '.join(who)}" for figure, who in by_figure.items())


def encrypted(spec: FederatedJobSpec) -> str | None:
    """How updates leave, how many have to agree, and who gets the model; None where nothing is encrypted."""
    wanted = spec.encryption
    if wanted is None or spec.privacy is None:
        return None
    n, t, quorum = len(spec.participants), spec.privacy.collusion_threshold, spec.effective_quorum
    return (
        f"{wanted.scheme}, key of {wanted.key_maker or spec.participants[0].name}, held by all; sums of at least "
        f"{quorum} of {n}, each half recomputed by {t + 1}, voted for by {least_votes(n, t)}; plain model: "
        f"{spec.privacy.model_release}{_warning(quorum, t)}"
    )


def _warning(quorum: int, t: int) -> str:
    """What one participant with a changed gate reads without the server, where the quorum is too small."""
    if quorum == 2:
        return "; a sum of two is each one's update to the other: take quorum 3 or more"
    if not keeps_halves_apart(quorum, t):
        return f"; one participant may be sent both halves and read each update: take quorum {2 * (t + 1)} or more"
    return ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
