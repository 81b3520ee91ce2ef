"""The plan for a Participation: the owner's policy first, then the client Job. Called by the engine."""

from dataclasses import dataclass
from datetime import datetime

from hanse.api import names, terms
from hanse.api.conditions import ParticipationCondition, Reason
from hanse.api.meta import clip_message
from hanse.api.participant import Dataset, ParticipantSpec
from hanse.api.participation import ContainerFailure, ParticipationStatus
from hanse.api.runconfig import ClientConfig, ClientDataset
from hanse.controller.manifests import client
from hanse.controller.reconcile import charging, children, leaves, notes, pods
from hanse.controller.reconcile.acceptance import permission_hint
from hanse.controller.reconcile.conditions import ConditionSet
from hanse.controller.reconcile.model import (
    Action,
    Apply,
    Create,
    Delete,
    EnsureIdentity,
    ObservedParticipation,
    Plan,
)
from hanse.controller.reconcile.pods import Diagnosis
from hanse.dp.worst import worst_epsilons

TROUBLE_SECONDS = 10.0
#: A client that gives its server up takes the job's key with it: those of encrypted jobs wait longer for a new one.
KEY_PATIENCE = 6
LOG_MAX = 4096


@dataclass(frozen=True)
class _Refused:
    reason: Reason
    message: str


class _Draft:
    def __init__(self, observed: ObservedParticipation, now: datetime) -> None:
        self.observed = observed
        self.now = now
        stored = observed.status.conditions
        self.conditions = ConditionSet(stored, ParticipationCondition, observed.meta.generation, now)
        self.values: dict[str, object] = {}
        self.actions: list[Action] = []
        self.after: float | None = None

    def ready(self, reason: str, message: str) -> None:
        self.conditions.set(ParticipationCondition.CLIENT_READY, "False", reason, message)
        self.values["message"] = clip_message(message)

    @property
    def over(self) -> bool:
        return any(
            self.conditions.is_true(kind) for kind in (ParticipationCondition.COMPLETE, ParticipationCondition.FAILED)
        )


def plan(observed: ObservedParticipation, now: datetime) -> Plan:
    """What to do about a Participation, now."""
    if observed.meta.deleting:
        return Plan(observed.status)
    draft = _Draft(observed, now)
    if not draft.over:
        _steer(draft)
    old = observed.status
    rounds = max(old.rounds_contributed, observed.rounds_contributed)
    update = {
        **draft.values,
        "rounds_contributed": rounds,
        "epsilon": charging.epsilons(observed),
        "conditions": draft.conditions.all(),
        "observed_generation": observed.meta.generation,
    }
    new: ParticipationStatus = old.model_copy(update=update)
    return Plan(new, tuple(draft.actions), notes.of_participation(old, new), draft.after)


def _steer(draft: _Draft) -> None:
    observed = draft.observed
    refused, dataset, spec = _policy(observed)
    if refused is not None or dataset is None or spec is None:
        assert refused is not None  # nothing is missing without a reason
        draft.conditions.set(ParticipationCondition.POLICY_SATISFIED, "False", refused.reason, refused.message)
        draft.ready(refused.reason, refused.message)
        _remove_job(draft)
        return
    draft.conditions.set(ParticipationCondition.POLICY_SATISFIED, "True", Reason.AS_EXPECTED, "the policy allows it")
    draft.conditions.set(ParticipationCondition.COMPLETE, "False", Reason.NOT_COMPLETED, "")
    draft.conditions.set(ParticipationCondition.FAILED, "False", Reason.NOT_FAILED, "")
    _judge(draft)
    reserved = charging.check(draft.conditions, observed)
    if draft.over:
        return
    if observed.spec.suspend:
        _suspend(draft)
    elif observed.client_job is None and not reserved:
        refused_by = draft.conditions.get(ParticipationCondition.BUDGET_RESERVED)
        draft.ready(refused_by.reason, refused_by.message)
    elif observed.client_job is None:
        _start(draft, spec, dataset)
    else:
        _watch(draft)


def _policy(observed: ObservedParticipation) -> tuple[_Refused | None, Dataset | None, ParticipantSpec | None]:
    """The owner may change its mind at any time: the client Job goes when the policy no longer allows the job."""
    reference, job = observed.spec.participant_ref, observed.spec.job_ref
    lookup = observed.participant
    if lookup.denied:
        return _Refused(Reason.PERMISSION_DENIED, permission_hint(observed.meta.namespace)), None, None
    if lookup.found is None:
        text = lookup.invalid or f"the Participant {reference.name} is gone"
        return _Refused(Reason.PARTICIPANT_NOT_FOUND, text), None, None
    if job.namespace not in lookup.found.policy.namespaces:
        text = f"Participant {reference.name} does not allow jobs of namespace {job.namespace}"
        return _Refused(Reason.NAMESPACE_NOT_ALLOWED, text), None, None
    dataset = lookup.found.dataset(observed.spec.plan.dataset)
    if dataset is None:
        text = f"Participant {reference.name} has no dataset {observed.spec.plan.dataset!r} any more"
        return _Refused(Reason.DATASET_NOT_DECLARED, text), None, None
    owner = f"{observed.meta.namespace}/{reference.name}"
    asked = observed.spec.plan
    epsilons = worst_epsilons(asked.privacy) if asked.privacy is not None else None
    for objection in terms.standing(asked, owner, lookup.found, dataset, epsilons):
        return _Refused(objection.reason, str(objection)), None, None
    return None, dataset, lookup.found


def _judge(draft: _Draft) -> None:
    """Whether the client has ended, well or for good."""
    observed = draft.observed
    found = _latest_failure(observed)
    if found is not None:
        draft.values["failure"] = _record(found)
    job = observed.client_job
    if job is not None and job.complete:
        draft.ready(Reason.COMPLETED, "the client has ended")
        draft.conditions.set(ParticipationCondition.COMPLETE, "True", Reason.COMPLETED, "the client has ended")
    elif job is not None and job.failed:
        _fail(draft, found, job.failed_reason, job.failed_message)
    elif found is not None and found.hopeless:
        _fail(draft, found, "", "")
        if found.unseen or found.reason == Reason.SIDECAR_CRASH_LOOP:
            _remove_job(draft)
    elif text := pods.too_many_ends(job, observed.pods, names.CONTAINER_TRAINER, observed.spec.plan.backoff_limit):
        draft.ready(Reason.BACKOFF_LIMIT_EXCEEDED, text)
        draft.conditions.set(ParticipationCondition.FAILED, "True", Reason.BACKOFF_LIMIT_EXCEEDED, text)
        _remove_job(draft)


def _latest_failure(observed: ObservedParticipation) -> Diagnosis | None:
    found = [f for f in map(pods.failure, sorted(observed.pods, key=lambda p: str(p.meta.created))) if f is not None]
    hopeless = [f for f in found if f.hopeless]
    return next(reversed(hopeless or found), None)


def _fail(draft: _Draft, found: Diagnosis | None, job_reason: str, job_message: str) -> None:
    if job_reason == "DeadlineExceeded":
        reason, message = Reason.DEADLINE_EXCEEDED, "the client Job exceeded its activeDeadlineSeconds"
    elif found is not None:
        reason, message = found.reason, found.message
    else:
        reason, message = Reason.CONTAINER_FAILED, f"client Job: {job_reason}: {job_message}"
    draft.ready(reason, message)
    draft.conditions.set(ParticipationCondition.FAILED, "True", reason, message)


def _record(found: Diagnosis) -> ContainerFailure:
    return ContainerFailure(
        container=found.container or "pod",
        reason=str(found.reason),
        exit_code=found.exit_code,
        finished_at=found.finished_at,
        log=found.log[-LOG_MAX:],
    )


def _suspend(draft: _Draft) -> None:
    _remove_job(draft)
    left = sum(1 for pod in draft.observed.pods if not pod.ended)
    if draft.observed.client_job is not None or left:
        draft.ready(Reason.STARTING, f"suspending: {left} pods left")
        draft.after = 1.0
    else:
        draft.ready(Reason.SUSPENDED, "no pod runs")


def _remove_job(draft: _Draft) -> None:
    job = draft.observed.client_job
    if job is not None and not job.meta.deleting:
        draft.actions.append(Delete("Job", job.meta.namespace, job.meta.name))


def _start(draft: _Draft, spec: ParticipantSpec, dataset: Dataset) -> None:
    observed = draft.observed
    draft.ready(Reason.STARTING, "the client is starting")
    if observed.problem is not None:
        draft.ready(observed.problem.reason, observed.problem.message)
    if any(not pod.ended for pod in observed.pods):
        draft.after = 1.0  # one SuperNode key, one gate
        return
    identity = observed.identity
    if identity is None or identity.generation != observed.meta.generation:
        draft.actions.append(EnsureIdentity(observed.meta, observed.spec))
        draft.after = 0.0
        return
    draft.values["public_key"] = identity.public_key
    job = client.build_client_job(observed.meta, observed.spec, dataset, spec)
    draft.values["client_job"] = job["metadata"]["name"]
    draft.actions += [
        Apply(client.build_client_config(observed.meta, observed.spec, client_config(observed, dataset))),
        Create(job),
    ]


def _keep_fresh(draft: _Draft) -> None:
    """The certificate of a Job that its queue may let run at any time."""
    observed = draft.observed
    life = leaves.client_life(observed.spec.plan.active_deadline_seconds)
    if observed.identity is not None and leaves.is_stale(observed.identity.expires, life, draft.now):
        draft.actions.append(EnsureIdentity(observed.meta, observed.spec))
    draft.after = leaves.LOOK_SECONDS


def client_config(observed: ObservedParticipation, dataset: Dataset) -> ClientConfig:
    """client.json."""
    plan = observed.spec.plan
    # What the gate signs names the programs: its certificate, and the terms of an encrypted job.
    signs = plan.privacy is not None or plan.encryption is not None
    return ClientConfig(
        job=observed.spec.job_ref,
        participant=plan.participant,
        index=plan.index,
        participants=plan.participants,
        server_address=plan.server_address,
        client_app=plan.client_app,
        config=plan.config,
        dataset=ClientDataset(
            name=dataset.name, path=dataset.source.path, records=plan.records, schema_=dataset.schema_
        ),
        server_lost_seconds=observed.server_lost_seconds * (KEY_PATIENCE if plan.encryption is not None else 1),
        plan_hash=observed.spec.plan_hash,
        privacy=plan.privacy,
        encryption=plan.encryption,
        population=plan.population,
        compression=plan.compression,
        personal_layers=plan.personal_layers,
        initial_seed=plan.initial_seed,
        aggregation=plan.aggregation,
        smallest_batch=plan.smallest_batch,
        gate_image=plan.gate_image if signs else None,
        trainer_image=plan.image if signs else None,
    )


def _watch(draft: _Draft) -> None:
    observed = draft.observed
    job = observed.client_job
    assert job is not None
    newest = pods.newest(observed.pods)
    found = pods.diagnose(newest, draft.now) if newest is not None else None
    if job.suspended:
        draft.ready(Reason.QUEUED, "the client Job waits in its queue")
        _keep_fresh(draft)
    elif newest is not None and newest.ready and not newest.meta.deleting:
        draft.conditions.set(ParticipationCondition.CLIENT_READY, "True", Reason.READY, f"pod {newest.meta.name} runs")
        draft.values["message"] = "taking part"
    elif found is not None:
        draft.ready(found.reason, found.message)
        draft.after = TROUBLE_SECONDS
    elif newest is None and children.pod_is_late(
        job, draft.now, draft.conditions.get(ParticipationCondition.CLIENT_READY).reason
    ):
        draft.ready(Reason.POD_REFUSED, children.late_hint(job))
        draft.after = TROUBLE_SECONDS
    elif newest is not None and pods.has_ended_well(newest):
        # Until the Job says so, too.
        draft.ready(Reason.COMPLETED, f"the client of pod {newest.meta.name} has ended")
        draft.after = TROUBLE_SECONDS
    else:
        draft.ready(Reason.STARTING, "the client pod is starting")
        draft.after = TROUBLE_SECONDS
    if observed.problem is not None:
        draft.ready(observed.problem.reason, observed.problem.message)
