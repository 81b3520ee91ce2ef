"""spec.suspend: true removes server and client Jobs, false starts them again from the checkpoint."""

from hanse.api.conditions import JobCondition, ParticipationCondition, Reason
from hanse.api.job import FederatedJobSpec
from hanse.controller.reconcile.conditions import find
from hanse.controller.reconcile.deadline import active_seconds
from hanse.controller.reconcile.draft import Draft
from hanse.controller.reconcile.model import Delete, SetSuspend


def enforce(draft: Draft, spec: FederatedJobSpec) -> bool:
    """Whether the job is to stand still for this visit. A resume is written before it is carried out."""
    status = draft.observed.status
    if spec.suspend:
        _stop(draft)
        return True
    if status.active_since is None:
        # Children are made on the visit that has read this back: never two starts with one number.
        draft.values.update(active_since=draft.now, starts=status.starts + 1)
        draft.conditions.set(JobCondition.SUSPENDED, "False", Reason.RESUMED, f"start {status.starts + 1}")
        draft.wake(0)
        return True
    if status.starts <= 1:
        draft.conditions.set(JobCondition.SUSPENDED, "False", Reason.NOT_SUSPENDED, "")
    return False


def _stop(draft: Draft) -> None:
    observed = draft.observed
    status = observed.status
    if status.active_since is not None:
        draft.values.update(active_seconds=active_seconds(status, draft.now), active_since=None)
    if observed.server_job is not None:
        meta = observed.server_job.meta
        draft.actions.append(Delete("Job", meta.namespace, meta.name))
    for participation in observed.participations.values():
        if not participation.spec.suspend and not participation.meta.deleting:
            draft.actions.append(SetSuspend(participation.meta.namespace, participation.meta.name, True))
    left = _pods_left(draft)
    if left:
        text = f"stopping: {', '.join(left)}"
        draft.conditions.set(JobCondition.SUSPENDED, "False", Reason.SUSPENDED, text)
    else:
        draft.conditions.set(JobCondition.SUSPENDED, "True", Reason.SUSPENDED, "no pod runs; the checkpoint is kept")
    for name in (JobCondition.SERVER_READY, JobCondition.PARTICIPANTS_READY):
        draft.conditions.set(name, "False", Reason.SUSPENDED, "the job is suspended")
    if status.privacy is not None and status.privacy.key_fingerprint is not None:
        # The API server refuses it from the start on; what got past it is told.
        text = "suspended: the gates are gone and the key with them; delete the job and create it anew"
        draft.conditions.set(JobCondition.KEYS_READY, "False", Reason.KEY_LOST, text)
    draft.conditions.set(JobCondition.QUOTA_RESERVED, "False", Reason.SUSPENDED, "the job is suspended")
    draft.conditions.set(JobCondition.COMPLETE, "False", Reason.SUSPENDED, "the job is suspended")
    draft.values["participants"] = [
        p.model_copy(update={"ready": False, "reason": str(Reason.SUSPENDED), "message": ""})
        for p in status.participants
    ]


def _pods_left(draft: Draft) -> list[str]:
    observed = draft.observed
    left = ["server"] if observed.server_job is not None or _alive(draft) else []
    for name, participation in observed.participations.items():
        ready = find(participation.status.conditions, ParticipationCondition.CLIENT_READY)
        over = any(
            (c := find(participation.status.conditions, kind)) is not None and c.status == "True"
            for kind in (ParticipationCondition.COMPLETE, ParticipationCondition.FAILED)
        )
        # The Participation says so once its pods are gone.
        if not over and (ready is None or ready.status != "False" or ready.reason != Reason.SUSPENDED):
            left.append(name)
    return left


def _alive(draft: Draft) -> bool:
    return any(not pod.ended for pod in draft.observed.server_pods)
