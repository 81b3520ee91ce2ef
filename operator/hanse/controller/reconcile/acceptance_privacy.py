"""Whether the owners' terms and the accountant let a job start (spec.privacy, policy, population), and its plan.

Called by `acceptance` for each participant and by `admission` when the job starts. What a budget still holds is the
reservation's (`reconcile.budget`).
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, get_args

from hanse.api import terms
from hanse.api.apps import NEEDS_SCHEMA
from hanse.api.conditions import Reason
from hanse.api.job import AdversaryEpsilon, FederatedJobSpec, JobParticipant, JobPrivacy, OwnerPrivacy
from hanse.api.participant import Dataset, ParticipantSpec
from hanse.api.privacy import ACCOUNTANT, Adversary, DifferentialPrivacy, PrivacyPlan
from hanse.controller.reconcile.hints import permission_hint
from hanse.controller.reconcile.model import ObservedJob
from hanse.dp import AccountingError, resolve

#: The noise does not depend on it; each owner's expected batch does and comes with `PrivacyPlan.for_owner`.
_ANY_RECORDS: Final = 1

Problem = tuple[Reason, str]


def of_job(spec: FederatedJobSpec) -> Iterator[Problem]:
    """What no owner is needed for: whether noise can give what is asked, and whether the app does what is paid."""
    wanted = spec.differential_privacy
    if wanted is not None:
        try:
            resolved(wanted, spec.rounds)
        except AccountingError as error:
            yield Reason.INVALID_SPEC, f"privacy.differentialPrivacy: {error}"
    yield from ((objection.reason, str(objection)) for objection in terms.app_objections(spec))


def of_participant(
    observed: ObservedJob, spec: FederatedJobSpec, member: JobParticipant, found: ParticipantSpec, dataset: Dataset
) -> Iterator[Problem]:
    """The terms of one owner, as they are now."""
    reference = member.participant_ref
    wanted = spec.differential_privacy
    epsilon = float(resolved(wanted, spec.rounds).epsilon) if wanted is not None else None
    lookup = observed.budgets.get((reference.namespace, dataset.population or ""))
    if lookup is not None and lookup.denied:
        yield Reason.PERMISSION_DENIED, permission_hint(reference.namespace)
        return
    budget = terms.Budget(lookup.spec, lookup.invalid) if lookup is not None else terms.Budget()
    ask = terms.Ask.of_spec(spec, epsilon)
    for objection in terms.objections(ask, f"{reference.namespace}/{reference.name}", found.policy, dataset, budget):
        yield objection.reason, str(objection)


def of_all(observed: ObservedJob, spec: FederatedJobSpec) -> Iterator[Problem]:
    """What the owners must agree on."""
    wanted = spec.differential_privacy
    if wanted is None or (spec.app.client_app not in NEEDS_SCHEMA and wanted.statistics is None):
        return
    datasets = {name: dataset for name, _, dataset in _owners(observed, spec)}
    schemas = {name: dataset.schema_ for name, dataset in datasets.items() if dataset.schema_ is not None}
    for objection in terms.schema_objections(schemas):
        yield objection.reason, str(objection)


def job_privacy(observed: ObservedJob, spec: FederatedJobSpec) -> JobPrivacy | None:
    """status.privacy of a job that starts; None without privacy. Raises AccountingError where `of_job` would refuse."""
    wanted = spec.differential_privacy
    if wanted is None:
        return None
    plan = resolved(wanted, spec.rounds)
    owners = {
        name: OwnerPrivacy(population=dataset.population, records=dataset.records, adversary=found.policy.adversary)
        for name, found, dataset in _owners(observed, spec)
        if dataset.population is not None  # without one it was refused
    }
    return JobPrivacy(
        unit=plan.unit,
        mechanism=plan.mechanism,
        adjacency=plan.adjacency,
        accountant=ACCOUNTANT,
        asked=plan.epsilon,
        delta=plan.delta,
        epsilon=[AdversaryEpsilon(adversary=each, spent="0") for each in get_args(Adversary)],
        plan=plan,
        owners=owners,
    )


def resolved(wanted: DifferentialPrivacy, rounds: int) -> PrivacyPlan:
    """The plan but for each owner's own part. Raises AccountingError. Kept: a refused job is asked about again."""
    return _resolved(json.dumps(wanted.to_wire(), sort_keys=True), rounds)


@lru_cache(maxsize=256)
def _resolved(wanted: str, rounds: int) -> PrivacyPlan:
    plan = resolve(DifferentialPrivacy.model_validate_json(wanted), rounds, _ANY_RECORDS)
    return plan.model_copy(update={"expected_batch": None})


def _owners(observed: ObservedJob, spec: FederatedJobSpec) -> Iterator[tuple[str, ParticipantSpec, Dataset]]:
    for member in spec.participants:
        lookup = observed.lookups.get((member.participant_ref.namespace, member.participant_ref.name))
        found = lookup.found if lookup is not None else None
        dataset = found.dataset(member.dataset) if found is not None else None
        if found is not None and dataset is not None:
            yield member.name, found, dataset
