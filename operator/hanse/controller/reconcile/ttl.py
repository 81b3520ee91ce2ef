"""spec.ttlSecondsAfterFinished: the job deletes itself so long after it has finished."""

from hanse.api.job import FederatedJobSpec
from hanse.controller.reconcile.draft import Draft
from hanse.controller.reconcile.model import Delete


def enforce(draft: Draft, spec: FederatedJobSpec) -> None:
    """Delete the job when it is time, or look again when it will be."""
    ended = draft.observed.status.completion_time
    if spec.ttl_seconds_after_finished is None or ended is None:
        return
    left = spec.ttl_seconds_after_finished - (draft.now - ended).total_seconds()
    if left <= 0:
        meta = draft.observed.meta
        draft.actions.append(Delete("FederatedJob", meta.namespace, meta.name))
    else:
        draft.wake(left)
