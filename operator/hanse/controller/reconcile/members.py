"""What each participant of a running job is doing, from its Participation and the server's progress."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from hanse.api import names
from hanse.api.conditions import ParticipationCondition, Reason
from hanse.api.job import JobParticipant, ParticipantStatus
from hanse.api.meta import clip_message
from hanse.api.progress import ParticipantProgress, Progress
from hanse.controller.reconcile.conditions import find
from hanse.controller.reconcile.model import ObservedJob, ParticipationView

#: lastSeen moves in steps of this, so that a push alone does not change the whole status.
_SEEN_STEP = timedelta(seconds=10)


@dataclass(frozen=True)
class Member:
    """One participant. `lost`: it can contribute no more unless its owner does something."""

    status: ParticipantStatus
    lost: bool = False

    @property
    def name(self) -> str:
        return self.status.name


def observe(observed: ObservedJob, participants: list[JobParticipant], progress: Progress | None) -> list[Member]:
    """One member for each participant, in the order of the spec."""
    known = {p.name: p for p in observed.status.participants}
    pushed = {p.name: p for p in progress.participants} if progress is not None else {}
    if progress is not None and progress.phase in ("Starting", "WaitingForParticipants"):
        # Before the first round nobody is missed yet.
        pushed = {name: p.model_copy(update={"reason": ""}) for name, p in pushed.items()}
    return [_member(observed, each, known.get(each.name), pushed.get(each.name)) for each in participants]


def _member(
    observed: ObservedJob, member: JobParticipant, known: ParticipantStatus | None, pushed: ParticipantProgress | None
) -> Member:
    base = known or ParticipantStatus(name=member.name)
    if pushed is not None:
        base = base.model_copy(
            update={
                "rounds_contributed": max(base.rounds_contributed, pushed.rounds_contributed),
                "last_seen": _seen(base.last_seen, pushed.last_seen),
            }
        )
    participation = observed.participations.get(member.name)
    if member.name in observed.left or (participation is not None and participation.meta.deleting):
        message = "its owner deleted the Participation: it has left the job"
        return Member(_entry(base, Reason.PARTICIPANT_LEFT, message), lost=True)
    if participation is None:
        return Member(_entry(base, Reason.PENDING, "its Participation is not there yet"))
    return _from_participation(base, participation, pushed)


def _from_participation(
    base: ParticipantStatus, participation: ParticipationView, pushed: ParticipantProgress | None
) -> Member:
    conditions = participation.status.conditions
    failed = find(conditions, ParticipationCondition.FAILED)
    if failed is not None and failed.status == "True":
        return Member(_entry(base, failed.reason, failure_text(participation), exit_code=_code(participation)), True)
    policy = find(conditions, ParticipationCondition.POLICY_SATISFIED)
    if policy is not None and policy.status == "False":
        return Member(_entry(base, policy.reason, policy.message), lost=True)
    complete = find(conditions, ParticipationCondition.COMPLETE)
    if complete is not None and complete.status == "True":
        return Member(_entry(base, Reason.COMPLETED, "its client has ended", ready=base.ready))
    if pushed is not None and pushed.connected:
        return Member(_entry(base, Reason.READY, "", ready=True))
    ready = find(conditions, ParticipationCondition.CLIENT_READY)
    if pushed is None and base.ready and ready is not None and ready.status == "True":
        return Member(base)  # a new operator has not heard of the server yet
    if ready is None or ready.status != "False":
        reason = (pushed.reason if pushed is not None else "") or Reason.STARTING
        return Member(_entry(base, reason, "its client has not connected yet"))
    return Member(_entry(base, ready.reason, ready.message, exit_code=_code(participation)))


def failure_text(participation: ParticipationView) -> str:
    """Reason, exit code and where the owner looks. Only the import check, which saw no data, is quoted."""
    failure = participation.status.failure
    where = f"kubectl -n {participation.meta.namespace} describe participation {participation.meta.name}"
    if failure is None:
        failed = find(participation.status.conditions, ParticipationCondition.FAILED)
        return f"{failed.reason if failed is not None else 'failed'}: {where}"
    said = ""
    if failure.container == names.CONTAINER_APP_CHECK and failure.log.strip():
        said = f": {failure.log.strip().splitlines()[-1]}"
    code = f"exit code {failure.exit_code}" if failure.exit_code is not None else "no exit code"
    return clip_message(f"container {failure.container}: {code}{said}", 250 - len(where)) + f"; {where}"


def _entry(
    base: ParticipantStatus, reason: str, message: str, *, ready: bool = False, exit_code: int | None = None
) -> ParticipantStatus:
    update = {"ready": ready, "reason": str(reason), "message": clip_message(message), "exit_code": exit_code}
    return base.model_copy(update=update)


def _code(participation: ParticipationView) -> int | None:
    return participation.status.failure.exit_code if participation.status.failure is not None else None


def _seen(known: datetime | None, pushed: datetime | None) -> datetime | None:
    if pushed is None or (known is not None and pushed - known < _SEEN_STEP):
        return known
    return pushed.replace(microsecond=0)
