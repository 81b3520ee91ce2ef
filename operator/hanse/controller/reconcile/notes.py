"""Events that tell a job's story: one for each transition between two statuses, so no visit tells anything twice."""

from hanse.api.conditions import Condition, JobCondition, ParticipationCondition, Reason
from hanse.api.job import FederatedJobStatus
from hanse.api.participation import ParticipationStatus
from hanse.controller.reconcile.conditions import find
from hanse.controller.reconcile.model import Note
from hanse.controller.reconcile.summary import WAITING

_TELLING = 10  # at most so many events about rounds, and the first


def of_job(old: FederatedJobStatus, new: FederatedJobStatus) -> tuple[Note, ...]:
    """What happened between two statuses of a FederatedJob."""
    made: list[Note] = []
    for kind in JobCondition:
        before, after = find(old.conditions, kind), find(new.conditions, kind)
        if after is not None:
            made += _transition(kind, before, after)
    if old.start_time is None and new.start_time is not None:
        made.append(Note("Started", f"the job starts; plan {new.plan_hash}"))
    return (*made, *_rounds(old, new))


def _transition(kind: JobCondition, before: Condition | None, after: Condition) -> list[Note]:
    changed = before is None or before.status != after.status
    other_cause = changed or (before is not None and before.reason != after.reason)
    match kind, after.status:
        case JobCondition.ACCEPTED, "True" if changed:
            return [Note("Accepted", after.message)]
        case JobCondition.ACCEPTED, "False" if other_cause:
            return [Note(after.reason, after.message, warning=True)]
        case ((JobCondition.COMPLETE | JobCondition.FAILED), "True") if changed:
            return [Note(str(kind), f"{after.reason}: {after.message}", warning=kind == JobCondition.FAILED)]
        case JobCondition.SUSPENDED, "True" if changed:
            return [Note("Suspended", after.message)]
        case JobCondition.SUSPENDED, "False" if other_cause and after.reason == Reason.RESUMED:
            return [Note("Resumed", after.message)]
        case JobCondition.KEYS_READY, "True" if changed and after.reason == Reason.KEYS_HELD:
            return [Note(str(kind), after.message)]
        case ((JobCondition.SERVER_READY | JobCondition.PARTICIPANTS_READY), "True") if changed:
            return [Note(str(kind), after.message)]
        case ((JobCondition.SERVER_READY | JobCondition.PARTICIPANTS_READY), "False") if other_cause:
            return [] if after.reason in WAITING else [Note(after.reason, after.message, warning=True)]
        case JobCondition.FULL_PARTICIPATION, "False" if changed:
            return [Note(after.reason, after.message, warning=True)]
        case _:
            return []


def _rounds(old: FederatedJobStatus, new: FederatedJobStatus) -> list[Note]:
    if new.round is None or not new.round.total:
        return []
    before = old.round.completed if old.round is not None else 0
    after, total = new.round.completed, new.round.total
    first = before == 0 < after
    if after > before and (first or after * _TELLING // total > before * _TELLING // total):
        newest = next((r for r in new.rounds if r.number == after), None)
        metrics = ", ".join(f"{k}={v}" for k, v in sorted(newest.metrics.items())) if newest is not None else ""
        return [Note("RoundCompleted", f"round {after} of {total}" + (f": {metrics}" if metrics else ""))]
    return []


def of_participation(old: ParticipationStatus, new: ParticipationStatus) -> tuple[Note, ...]:
    """What happened between two statuses of a Participation, told in the owner's namespace."""
    made: list[Note] = []
    for kind in ParticipationCondition:
        before, after = find(old.conditions, kind), find(new.conditions, kind)
        if after is None or (before is not None and (before.status, before.reason) == (after.status, after.reason)):
            continue
        if kind in (ParticipationCondition.COMPLETE, ParticipationCondition.FAILED) and after.status == "True":
            made.append(Note(str(kind), after.message, warning=kind == ParticipationCondition.FAILED))
        elif kind == ParticipationCondition.CLIENT_READY and after.status == "True":
            made.append(Note(str(kind), after.message))
        elif kind != ParticipationCondition.FAILED and after.status == "False" and after.reason not in WAITING:
            made.append(Note(after.reason, after.message, warning=True))
    return tuple(made)
