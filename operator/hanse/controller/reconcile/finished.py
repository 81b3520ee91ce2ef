"""A job that is over: give back what it still holds, then its time to live."""

from hanse.api.conditions import JobCondition, ParticipationCondition
from hanse.controller.reconcile import rounds, spending, ttl
from hanse.controller.reconcile.conditions import holds
from hanse.controller.reconcile.draft import Draft
from hanse.controller.reconcile.model import Delete, SetSuspend

#: How long clients of a complete job have to hear of its end before they are stopped.
FAREWELL_SECONDS = 60


def tidy(draft: Draft) -> None:
    """Stop what still runs. Ended pods stay, for their logs, until the job is deleted."""
    observed = draft.observed
    rounds.enrich(draft)
    spending.enrich(draft)
    ended = observed.status.completion_time or draft.now
    waited = (draft.now - ended).total_seconds()
    server = observed.server_job
    if draft.conditions.is_true(JobCondition.FAILED) and server is not None and not server.finished:
        draft.actions.append(Delete("Job", server.meta.namespace, server.meta.name))
    if draft.conditions.is_true(JobCondition.FAILED) or waited >= FAREWELL_SECONDS:
        _stop_clients(draft)
    else:
        draft.wake(FAREWELL_SECONDS - waited)
    if observed.spec is not None:
        ttl.enforce(draft, observed.spec)


def _stop_clients(draft: Draft) -> None:
    for participation in draft.observed.participations.values():
        conditions = participation.status.conditions
        over = holds(conditions, ParticipationCondition.COMPLETE) or holds(conditions, ParticipationCondition.FAILED)
        if not over and not participation.spec.suspend and not participation.meta.deleting:
            meta = participation.meta
            draft.actions.append(SetSuspend(meta.namespace, meta.name, True))
