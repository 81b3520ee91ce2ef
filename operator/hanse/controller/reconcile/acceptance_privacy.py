"""Whether the owners' terms and the accountant let a job start (spec.privacy, policy, population), and its plans.

Called by `acceptance` for each participant and by `admission` when the job starts. What a budget still holds is the
reservation's (`reconcile.budget`); what encryption needs of the world is in `acceptance_encryption`.
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, get_args

from hanse.api import terms
from hanse.api.conditions import Reason
from hanse.api.encryption import EncryptionPlan
from hanse.api.encryptionplan import encryption_plan
from hanse.api.job import AdversaryEpsilon, FederatedJobSpec, FrozenImages, JobParticipant, JobPrivacy, OwnerPrivacy
from hanse.api.participant import Dataset, ParticipantSpec
from hanse.api.privacy import ACCOUNTANT, Adversary, DifferentialPrivacy, PrivacyPlan
from hanse.controller.reconcile import acceptance_encryption
from hanse.controller.reconcile.hints import permission_hint
from hanse.controller.reconcile.model import ObservedJob
from hanse.dp import AccountingError, resolve
from hanse.dp.worst import worst_epsilons

#: The noise does not depend on it; each owner's expected batch does and comes with `PrivacyPlan.for_owner`.
_ANY_RECORDS: Final = 1

Problem = tuple[Reason, str]


def of_job(spec: FederatedJobSpec) -> Iterator[Problem]:
    """What no owner is needed for: whether noise can give what is asked, and whether the app does what is paid."""
    if spec.differential_privacy is not None:
        try:
            resolved(spec)
        except AccountingError as error:
            yield Reason.INVALID_SPEC, f"privacy.differentialPrivacy: {error}"
    yield from ((objection.reason, str(objection)) for objection in terms.app_objections(spec))


def of_participant(
    observed: ObservedJob, spec: FederatedJobSpec, member: JobParticipant, found: ParticipantSpec, dataset: Dataset
) -> Iterator[Problem]:
    """The terms of one owner, as they are now."""
    reference = member.participant_ref
    plan = resolved(spec)
    lookup = observed.budgets.get((reference.namespace, dataset.population or ""))
    if lookup is not None and lookup.denied:
        yield Reason.PERMISSION_DENIED, permission_hint(reference.namespace)
        return
    budget = terms.Budget(lookup.spec, lookup.invalid) if lookup is not None else terms.Budget()
    ask = terms.Ask.of_spec(spec, worst_epsilons(plan) if plan is not None else None)
    for objection in terms.objections(ask, f"{reference.namespace}/{reference.name}", found, dataset, budget):
        yield objection.reason, str(objection)


def of_all(observed: ObservedJob, spec: FederatedJobSpec) -> Iterator[Problem]:
    """What the owners must agree on."""
    if not terms.compares_schemas(spec):
        return
    datasets = {name: dataset for name, _, dataset in _owners(observed, spec)}
    schemas = {name: dataset.schema_ for name, dataset in datasets.items() if dataset.schema_ is not None}
    for objection in terms.schema_objections(schemas):
        yield objection.reason, str(objection)


def job_privacy(observed: ObservedJob, spec: FederatedJobSpec, images: FrozenImages) -> JobPrivacy | None:
    """status.privacy of a job that starts; None with neither noise nor encryption.

    Raises what `of_job` and `acceptance_encryption` would refuse: AccountingError, KeyError, ValueError.
    """
    plan = resolved(spec)
    owners = list(_owners(observed, spec))
    made = encryption_plan(
        spec,
        acceptance_encryption.identities(observed, spec),
        {name: dataset.records for name, _, dataset in owners},
        plan,
        (images.gate, images.trainer),
    )
    if plan is None and made is None:
        return None
    charged = {
        name: OwnerPrivacy(population=dataset.population, records=dataset.records, adversary=found.policy.adversary)
        for name, found, dataset in owners
        if plan is not None and dataset.population is not None  # without one it was refused
    }
    return JobPrivacy(owners=charged, **_noise(plan), **_encryption(made))


def _noise(plan: PrivacyPlan | None) -> dict[str, Any]:
    if plan is None:
        return {}
    return {
        "unit": plan.unit,
        "mechanism": plan.mechanism,
        "adjacency": plan.adjacency,
        "accountant": ACCOUNTANT,
        "asked": plan.epsilon,
        "delta": plan.delta,
        "epsilon": [AdversaryEpsilon(adversary=each, spent="0") for each in get_args(Adversary)],
        "plan": plan,
    }


def _encryption(plan: EncryptionPlan | None) -> dict[str, Any]:
    if plan is None:
        return {}
    return {
        "encryption": plan.scheme,
        "key_maker": plan.key_maker,
        "collusion_threshold": plan.collusion_threshold,
        "model_release": plan.model_release,
        "encryption_plan": plan,
    }


def resolved(spec: FederatedJobSpec) -> PrivacyPlan | None:
    """The plan but for each owner's own part; None without noise. Raises AccountingError.

    Kept: a refused job is asked about again and again.
    """
    wanted = spec.differential_privacy
    if wanted is None or spec.privacy is None:
        return None
    text = json.dumps(wanted.to_wire(), sort_keys=True)
    return _resolved(text, spec.rounds, spec.effective_quorum, spec.privacy.collusion_threshold)


@lru_cache(maxsize=256)
def _resolved(wanted: str, rounds: int, quorum: int, collusion_threshold: int) -> PrivacyPlan:
    asked = DifferentialPrivacy.model_validate_json(wanted)
    distributed = asked.mechanism == "Distributed"
    plan = resolve(
        asked,
        rounds,
        _ANY_RECORDS,
        quorum=quorum if distributed else None,
        collusion_threshold=collusion_threshold if distributed else 0,
    )
    return plan.model_copy(update={"expected_batch": None})


def _owners(observed: ObservedJob, spec: FederatedJobSpec) -> Iterator[tuple[str, ParticipantSpec, Dataset]]:
    for member in spec.participants:
        lookup = observed.lookups.get((member.participant_ref.namespace, member.participant_ref.name))
        found = lookup.found if lookup is not None else None
        dataset = found.dataset(member.dataset) if found is not None else None
        if found is not None and dataset is not None:
            yield member.name, found, dataset
