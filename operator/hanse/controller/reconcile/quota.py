"""QuotaReserved: what the queues (Kueue) have admitted, read from the suspend field of the child Jobs that they own."""

from hanse.api import names
from hanse.api.conditions import JobCondition, ParticipationCondition, Reason
from hanse.controller.reconcile.conditions import find
from hanse.controller.reconcile.draft import Draft


def observe(draft: Draft) -> None:
    """Set the condition. Without a queue there is nothing to reserve."""
    observed = draft.observed
    waiting = []
    if observed.server_job is not None and observed.server_job.suspended:
        waiting.append(f"server in queue {observed.server_job.meta.labels.get(names.LABEL_QUEUE, '')}")
    for name, participation in observed.participations.items():
        ready = find(participation.status.conditions, ParticipationCondition.CLIENT_READY)
        if ready is not None and ready.reason == Reason.QUEUED:
            waiting.append(name)
    if waiting:
        draft.conditions.set(JobCondition.QUOTA_RESERVED, "False", Reason.QUEUED, f"not admitted: {', '.join(waiting)}")
    elif observed.server_job is None:
        draft.conditions.set(JobCondition.QUOTA_RESERVED, "Unknown", Reason.PENDING, "not asked for yet")
    elif names.LABEL_QUEUE in observed.server_job.meta.labels:
        draft.conditions.set(JobCondition.QUOTA_RESERVED, "True", Reason.ADMITTED, "all Jobs are admitted")
    else:
        draft.conditions.set(JobCondition.QUOTA_RESERVED, "True", Reason.AS_EXPECTED, "the server Job is in no queue")
