"""spec.startTimeoutSeconds as the operator's backstop: a server that never ran gives back what it and its clients hold.

The wait for participants is the server's own; this is for servers that cannot start at all.
"""

from hanse.api.conditions import Reason
from hanse.api.job import FederatedJobSpec
from hanse.api.progress import Progress
from hanse.controller.reconcile import pods
from hanse.controller.reconcile.draft import Draft
from hanse.controller.reconcile.members import Member

GRACE_SECONDS = 30


def enforce(draft: Draft, spec: FederatedJobSpec, members: list[Member], progress: Progress | None) -> None:
    """Fail the job when its server has not run in time, or look again when that will be."""
    observed = draft.observed
    job = observed.server_job
    since = observed.status.active_since
    ran = progress is not None or (observed.status.round is not None and observed.status.round.completed > 0)
    if since is None or ran or any(p.ready for p in observed.server_pods):
        return
    if job is not None and job.suspended:
        return  # waiting in a queue holds nothing
    if job is not None and job.start_time is not None:
        since = max(since, job.start_time)
    left = spec.start_timeout_seconds + GRACE_SECONDS - (draft.now - since).total_seconds()
    if left > 0:
        draft.wake(left)
        return
    newest = pods.newest(observed.server_pods)
    found = pods.diagnose(newest, draft.now) if newest is not None else None
    if found is not None:
        draft.fail(found.reason, f"the server did not start within startTimeoutSeconds: {found.message}")
        return
    waiting = ", ".join(f"{m.name} {m.status.reason}" for m in members if not m.status.ready)
    problem = f": {observed.problem.message}" if observed.problem is not None else ""
    draft.fail(Reason.QUORUM_NOT_REACHED, f"the server did not start within startTimeoutSeconds ({waiting}){problem}")
