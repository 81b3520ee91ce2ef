"""spec.startTimeoutSeconds as the operator's backstop: a server that does not run gives back what it and clients hold.

The wait for participants is the server's own; this is for servers that cannot start at all, the first time, after a
suspension or in place of one that has ended.
"""

from datetime import datetime, timedelta

from hanse.api.conditions import JobCondition, Reason
from hanse.api.job import FederatedJobSpec
from hanse.api.progress import Progress
from hanse.controller.reconcile import pods
from hanse.controller.reconcile.draft import Draft
from hanse.controller.reconcile.members import Member

GRACE_SECONDS = 30
#: The Job controller waits up to so long before it replaces a pod that has failed.
REPLACE_SECONDS = 360


def enforce(draft: Draft, spec: FederatedJobSpec, members: list[Member], progress: Progress | None) -> None:
    """Fail the job when its server has not run in time, or look again when that will be."""
    observed = draft.observed
    job = observed.server_job
    since = observed.status.active_since
    if since is None or any(p.ready or p.phase == "Running" for p in observed.server_pods):
        return
    if job is not None and job.suspended:
        return  # waiting in a queue holds nothing
    if job is not None and job.start_time is not None:
        since = max(since, job.start_time)
    if progress is not None:
        since = max(since, progress.updated_at)
    if progress is not None or (observed.status.round is not None and observed.status.round.completed > 0):
        since = _since_it_ran(draft, since)
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


def _since_it_ran(draft: Draft, since: datetime) -> datetime:
    """The current start of a job whose server ran before: not earlier than that server's end."""
    observed = draft.observed
    ended = draft.conditions.get(JobCondition.SERVER_READY).last_transition_time
    newest = pods.newest(observed.server_pods)
    if newest is not None and not newest.ended:
        return max(since, ended, newest.meta.created or since)
    finished = [c.ended.finished_at for p in observed.server_pods for c in p.containers if c.ended is not None]
    since = max(since, ended, *(f for f in finished if f is not None))
    failures = observed.server_job.failures if observed.server_job is not None else 0
    return since + timedelta(seconds=REPLACE_SECONDS if failures else 0)
