"""spec.activeDeadlineSeconds: the job fails after so much time that it was not suspended."""

from datetime import datetime

from hanse.api.conditions import Reason
from hanse.api.job import FederatedJobSpec, FederatedJobStatus
from hanse.controller.reconcile.draft import Draft

#: How much longer than the job a client Job may live, so that the job's own end comes first.
CLIENT_GRACE_SECONDS = 600


def active_seconds(status: FederatedJobStatus, now: datetime) -> int:
    """Seconds that the job has run without being suspended."""
    running = int((now - status.active_since).total_seconds()) if status.active_since is not None else 0
    return status.active_seconds + max(0, running)


def enforce(draft: Draft, spec: FederatedJobSpec) -> None:
    """Fail the job when its time is over, or look again when it will be."""
    limit = spec.active_deadline_seconds
    status = draft.observed.status
    if limit is None or status.active_since is None:
        return
    used = active_seconds(status, draft.now)
    if used >= limit:
        draft.fail(
            Reason.DEADLINE_EXCEEDED,
            f"the job was active for {used} s, activeDeadlineSeconds is {limit}: allow more and create it anew",
        )
    else:
        draft.wake(limit - used)
