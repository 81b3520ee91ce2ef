"""The plan for a FederatedJob: which of its lives it is in, then that life's policies. Called by the engine."""

from datetime import datetime

from hanse.controller.reconcile import admission, finished, running
from hanse.controller.reconcile.draft import Draft
from hanse.controller.reconcile.model import ObservedJob, Plan


def plan(observed: ObservedJob, now: datetime) -> Plan:
    """What to do about a job, now."""
    if observed.meta.deleting:
        return Plan(observed.status)
    draft = Draft(observed, now)
    if draft.finished:
        finished.tidy(draft)
    elif observed.status.start_time is None:
        admission.admit(draft)
    else:
        running.steer(draft)
    return draft.finish()
