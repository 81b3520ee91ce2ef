"""The printer columns: one word and a few numbers derived from the rest of the status; read by nobody but people."""

from collections.abc import Mapping

from hanse.api.conditions import Condition, JobCondition
from hanse.api.job import FederatedJobSpec, FederatedJobStatus, Summary
from hanse.controller.reconcile.conditions import find, holds

_METRICS = ("auc", "accuracy", "f1", "loss")
_WIDTH = 64


def build(spec: FederatedJobSpec | None, status: FederatedJobStatus) -> Summary:
    """The columns."""
    state, reason = _state(status)
    total = spec.rounds if spec is not None else 0
    done = status.round.completed if status.round is not None else 0
    members = len(spec.participants) if spec is not None else 0
    return Summary(
        state=state,
        reason=reason,
        round=f"{done}/{status.round.total if status.round is not None else total}",
        participants=f"{sum(1 for p in status.participants if p.ready)}/{members}",
        metric=_metric(spec, status),
        eta=_eta(status.round.eta_seconds if status.round is not None and state == "Running" else None),
    )


def _state(status: FederatedJobStatus) -> tuple[str, str]:
    conditions = status.conditions
    for kind, state in ((JobCondition.FAILED, "Failed"), (JobCondition.COMPLETE, "Complete")):
        if holds(conditions, kind):
            return state, _reason(find(conditions, kind))
    accepted = find(conditions, JobCondition.ACCEPTED)
    if accepted is not None and accepted.status == "False":
        return "Refused", accepted.reason
    suspended = find(conditions, JobCondition.SUSPENDED)
    if suspended is not None and (suspended.status == "True" or suspended.reason == "Suspended"):
        return "Suspended", suspended.reason
    return _progressing(conditions)


def _progressing(conditions: list[Condition]) -> tuple[str, str]:
    complete = find(conditions, JobCondition.COMPLETE)
    if complete is not None and complete.reason == "Running":
        return "Running", "Running"
    for kind in (JobCondition.QUOTA_RESERVED, JobCondition.SERVER_READY, JobCondition.PARTICIPANTS_READY):
        found = find(conditions, kind)
        if found is not None and found.status == "False":
            return ("Pending" if kind == JobCondition.SERVER_READY else "Waiting"), found.reason
    ready = find(conditions, JobCondition.SERVER_READY)
    return ("Waiting" if ready is not None and ready.status == "True" else "Pending"), _reason(complete)


def _reason(condition: Condition | None) -> str:
    return condition.reason if condition is not None else "-"


def _metric(spec: FederatedJobSpec | None, status: FederatedJobStatus) -> str:
    newest = next((r.metrics for r in status.rounds if r.metrics), None)
    if newest is None:
        return "-"
    name = _metric_name(spec, newest)
    try:
        value = f"{float(newest[name]):.3f}"
    except ValueError:
        value = newest[name]
    return f"{name}={value}"[:_WIDTH]


def _metric_name(spec: FederatedJobSpec | None, metrics: Mapping[str, str]) -> str:
    asked = [rule.metric for rule in spec.stop_when] if spec is not None else []
    return next((name for name in (*asked, *_METRICS) if name in metrics), min(metrics))


def _eta(seconds: int | None) -> str:
    if seconds is None:
        return "-"
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m{left}s" if minutes else f"{left}s"
