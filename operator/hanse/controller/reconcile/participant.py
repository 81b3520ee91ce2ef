"""The plan for a Participant: status only. Whether its claims are there and its policy lets anybody in."""

from datetime import datetime

from hanse.api.conditions import ParticipantCondition, Reason
from hanse.api.participant import DatasetStatus
from hanse.controller.reconcile.conditions import ConditionSet
from hanse.controller.reconcile.model import Action, EnsureOwnerIdentity, ObservedParticipant, Plan

#: Claims are not watched: one that is missing is looked for this often.
RETRY_SECONDS = 10.0


def plan(observed: ObservedParticipant, now: datetime) -> Plan:
    """What a Participant's status says."""
    if observed.meta.deleting:
        return Plan(observed.status)
    conditions = ConditionSet(observed.status.conditions, ParticipantCondition, observed.meta.generation, now)
    datasets = _datasets(observed)
    missing = [d.name for d in datasets if not d.available]
    if observed.spec is None:
        conditions.set(ParticipantCondition.POLICY_VALID, "False", Reason.INVALID_SPEC, observed.spec_error)
        conditions.set(ParticipantCondition.READY, "False", Reason.INVALID_SPEC, observed.spec_error)
    else:
        _judge(conditions, observed.spec.policy.namespaces, missing)
    status = observed.status.model_copy(
        update={
            "observed_generation": observed.meta.generation,
            "datasets": datasets,
            "identity": observed.identity or observed.status.identity,
            "conditions": conditions.all(),
        }
    )
    actions: tuple[Action, ...] = ()
    if observed.spec is not None and observed.identity is None and observed.signs:
        # Gates sign with it, from their first private or encrypted job on.
        actions = (EnsureOwnerIdentity(observed.meta.namespace),)
    after = RETRY_SECONDS if missing else None
    return Plan(status, actions, after=0.0 if actions else after)


def _datasets(observed: ObservedParticipant) -> list[DatasetStatus]:
    made = []
    for dataset in observed.spec.datasets if observed.spec is not None else ():
        claim = dataset.source.persistent_volume_claim.claim_name
        # Without permission to look the pod itself will say so.
        gone = observed.claims.get(claim) is False
        text = f"no PersistentVolumeClaim {claim} in namespace {observed.meta.namespace}: create it" if gone else ""
        made.append(DatasetStatus(name=dataset.name, available=not gone, message=text))
    return made


def _judge(conditions: ConditionSet, namespaces: list[str], missing: list[str]) -> None:
    if namespaces:
        text = f"jobs of: {', '.join(namespaces)}"
    else:
        text = "nobody may use the datasets: add namespaces to spec.policy.namespaces"
    conditions.set(ParticipantCondition.POLICY_VALID, "True", Reason.AS_EXPECTED, text)
    if missing:
        text = f"claims are missing for: {', '.join(missing)}"
        for kind in (ParticipantCondition.DATASETS_AVAILABLE, ParticipantCondition.READY):
            conditions.set(kind, "False", Reason.DATASET_NOT_FOUND, text)
        return
    conditions.set(ParticipantCondition.DATASETS_AVAILABLE, "True", Reason.AS_EXPECTED, "every claim is there")
    conditions.set(ParticipantCondition.READY, "True", Reason.READY, text)
