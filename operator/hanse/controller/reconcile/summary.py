"""The printer columns: one word and a few numbers derived from the rest of the status; read by nobody but people."""

from collections.abc import Mapping
from typing import get_args

from hanse.api.conditions import Condition, JobCondition, Reason
from hanse.api.job import FederatedJobSpec, FederatedJobStatus, JobPrivacy, Summary
from hanse.api.privacy import Adversary
from hanse.controller.reconcile.conditions import find, holds
from hanse.dp.worst import worst_epsilons

_METRICS = ("auc", "accuracy", "f1", "loss")
_WIDTH = 64
#: Reasons of a condition that is False without anything being wrong.
WAITING = frozenset(
    {
        Reason.PENDING,
        Reason.STARTING,
        Reason.WAITING_FOR_PARTICIPANTS,
        Reason.WAITING_FOR_KEYS,
        Reason.SUSPENDED,
        Reason.RUNNING,
        Reason.QUEUED,
        Reason.COMPLETED,
        Reason.NOT_COMPLETED,
    }
)


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
        epsilon=_epsilon(status.privacy),
        encryption=_encryption(status.privacy),
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
    kinds = (
        JobCondition.QUOTA_RESERVED,
        JobCondition.SERVER_READY,
        JobCondition.PARTICIPANTS_READY,
        JobCondition.KEYS_READY,
    )
    missing = [c for c in (find(conditions, kind) for kind in kinds) if c is not None and c.status == "False"]
    if not missing:
        return "Pending", _reason(complete)
    # The column REASON is for what is wrong; that something starts is said by STATE.
    reason = next((c.reason for c in missing if c.reason not in WAITING), missing[0].reason)
    return ("Pending" if missing[0].type == JobCondition.SERVER_READY else "Waiting"), reason


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


def _epsilon(privacy: JobPrivacy | None) -> str:
    if privacy is None or privacy.asked is None or privacy.plan is None:
        return "-"
    # What was asked for is against these; the others are in status.privacy.epsilon.
    promised = ("CollusionThreshold",) if privacy.mechanism == "Distributed" else get_args(Adversary)
    spent = max((float(each.spent) for each in privacy.epsilon if each.adversary in promised), default=0.0)
    # Where colluders may get whole ciphertexts the plan costs more against them than was asked for.
    worst = worst_epsilons(privacy.plan)["CollusionThreshold"]
    return f"{_short(spent)}/{_short(worst)}"


def _encryption(privacy: JobPrivacy | None) -> str:
    return privacy.encryption if privacy is not None and privacy.encryption != "None" else "-"


def _short(epsilon: float) -> str:
    return f"{epsilon:.1f}" if epsilon >= 1 or epsilon == 0 else f"{epsilon:.2g}"


def _eta(seconds: int | None) -> str:
    if seconds is None:
        return "-"
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m{left}s" if minutes else f"{left}s"
