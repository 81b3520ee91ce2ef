"""A job that has started: read what is there, let each policy judge it, and make the children that are missing."""

from hanse.api.conditions import JobCondition, Reason
from hanse.api.job import FederatedJobSpec
from hanse.api.progress import Progress
from hanse.controller.reconcile import (
    children,
    deadline,
    keys,
    members,
    outcome,
    pods,
    quota,
    rounds,
    spending,
    start_timeout,
    suspend,
)
from hanse.controller.reconcile.draft import Draft
from hanse.controller.reconcile.finished import tidy
from hanse.controller.reconcile.members import Member

#: While a pod is in trouble its age decides what we say of it: look again this often.
TROUBLE_SECONDS = 10.0


def steer(draft: Draft) -> None:
    """One visit."""
    observed = draft.observed
    spec = observed.spec
    if spec is None:  # the CRD was changed under a running job
        draft.conditions.set(JobCondition.ACCEPTED, "False", Reason.INVALID_SPEC, observed.spec_error)
        return
    draft.values["participations"] = _known_participations(draft)
    progress = rounds.enrich(draft)
    found = members.observe(observed, spec.participants, progress)
    draft.values["participants"] = [m.status for m in found]
    keys.enrich(draft, progress)
    spending.enrich(draft)
    draft.lost = frozenset(m.name for m in found if m.lost)
    completed = rounds.completed_rounds(observed.status, draft)
    _full_participation(draft, found, completed)
    outcome.of_server(draft, progress, found)
    if not draft.finished:
        deadline.enforce(draft, spec)
    if not draft.finished:
        outcome.of_quorum(draft, spec, found, completed)
    if not draft.finished and not suspend.enforce(draft, spec):
        _conditions(draft, spec, found, progress)
        start_timeout.enforce(draft, spec, found, progress)
        if not draft.finished:
            children.ensure(draft, spec, found)
    if draft.finished:
        _freeze(draft)
        tidy(draft)


def _known_participations(draft: Draft) -> dict[str, str]:
    """uids that were ever seen: one that vanishes was deleted by its owner."""
    seen = {name: view.meta.uid for name, view in draft.observed.participations.items()}
    return {**seen, **draft.observed.status.participations}


def _conditions(draft: Draft, spec: FederatedJobSpec, found: list[Member], progress: Progress | None) -> None:
    quota.observe(draft)
    _server_ready(draft)
    ready = sum(1 for m in found if m.status.ready)
    troubled = next((m for m in found if not m.status.ready and m.status.reason != Reason.STARTING), None)
    if ready == len(found):
        draft.conditions.set(JobCondition.PARTICIPANTS_READY, "True", Reason.READY, f"all {ready} are connected")
    elif troubled is not None and troubled.status.reason != Reason.PENDING:
        text = f"{troubled.name}: {troubled.status.message or troubled.status.reason}"
        draft.conditions.set(JobCondition.PARTICIPANTS_READY, "False", troubled.status.reason, text)
        draft.wake(TROUBLE_SECONDS)
    else:
        text = f"{ready} of {len(found)} are connected"
        draft.conditions.set(JobCondition.PARTICIPANTS_READY, "False", Reason.WAITING_FOR_PARTICIPANTS, text)
    if progress is not None and progress.phase == "Running":
        text = f"round {min(progress.completed + 1, spec.rounds)} of {spec.rounds}"
        draft.conditions.set(JobCondition.COMPLETE, "False", Reason.RUNNING, text)
    elif progress is not None and progress.phase == "WaitingForParticipants":
        draft.conditions.set(JobCondition.COMPLETE, "False", Reason.WAITING_FOR_PARTICIPANTS, "no round runs")
    elif progress is not None or not any(pod.ready for pod in draft.observed.server_pods):
        draft.conditions.set(JobCondition.COMPLETE, "False", Reason.STARTING, "no round runs")
    problem = draft.observed.problem
    if problem is not None:
        own = problem.namespace in ("", draft.observed.meta.namespace)
        target = JobCondition.SERVER_READY if own else JobCondition.PARTICIPANTS_READY
        draft.conditions.set(target, "False", problem.reason, problem.message)


def _server_ready(draft: Draft) -> None:
    newest = pods.newest(draft.observed.server_pods)
    found = pods.diagnose(newest, draft.now) if newest is not None else None
    shown = draft.conditions.get(JobCondition.SERVER_READY).reason
    job = draft.observed.server_job
    if job is not None and job.suspended:
        draft.conditions.set(JobCondition.SERVER_READY, "False", Reason.QUEUED, "the server Job waits in its queue")
    elif newest is not None and newest.ready:
        draft.conditions.set(JobCondition.SERVER_READY, "True", Reason.READY, f"pod {newest.meta.name}")
    elif found is not None:
        draft.conditions.set(JobCondition.SERVER_READY, "False", found.reason, found.message)
        draft.wake(TROUBLE_SECONDS)
    elif newest is None and job is not None and children.pod_is_late(job, draft.now, shown):
        draft.conditions.set(JobCondition.SERVER_READY, "False", Reason.POD_REFUSED, children.late_hint(job))
    else:
        draft.conditions.set(JobCondition.SERVER_READY, "False", Reason.STARTING, "the server pod is starting")
        draft.wake(TROUBLE_SECONDS)


def _full_participation(draft: Draft, found: list[Member], completed: int) -> None:
    if not completed:
        return
    short = [(m.name, m.status.rounds_contributed) for m in found if m.status.rounds_contributed < completed]
    if short:
        names = ", ".join(f"{name} {count}/{completed}" for name, count in short)
        text = f"rounds contributed: {names}"
        draft.conditions.set(JobCondition.FULL_PARTICIPATION, "False", Reason.SUBSET_ONLY, text)
    else:
        text = f"all {len(found)} contributed to each of {completed} rounds"
        draft.conditions.set(JobCondition.FULL_PARTICIPATION, "True", Reason.ALL_PARTICIPATE, text)


def _freeze(draft: Draft) -> None:
    """The last word on a job that is over: time stands still, nothing waits any more."""
    status = draft.observed.status
    draft.values.update(active_seconds=deadline.active_seconds(status, draft.now), active_since=None)
    over = "the job is over"
    for name in (JobCondition.SERVER_READY, JobCondition.PARTICIPANTS_READY):
        known = draft.conditions.get(name)
        # What stood in the way explains a failure: it stays.
        if known.status == "True" or known.reason in (Reason.STARTING, Reason.WAITING_FOR_PARTICIPANTS, Reason.PENDING):
            draft.conditions.set(name, "False", Reason.COMPLETED, over)
    if draft.conditions.get(JobCondition.KEYS_READY).reason in (Reason.KEYS_HELD, Reason.WAITING_FOR_KEYS):
        text = "the job is over: the key has gone with its gates"
        draft.conditions.set(JobCondition.KEYS_READY, "False", Reason.COMPLETED, text)
    draft.conditions.set(JobCondition.QUOTA_RESERVED, "False", Reason.COMPLETED, over)
    draft.conditions.set(JobCondition.SUSPENDED, "False", Reason.NOT_SUSPENDED, over)
