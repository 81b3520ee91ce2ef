"""How a running job ends: what its server left behind, then spec.quorum against who can still contribute."""

from hanse.api import names
from hanse.api.conditions import Reason
from hanse.api.encryption import who_has_the_model
from hanse.api.exitcodes import reason_for
from hanse.api.job import FederatedJobSpec
from hanse.api.meta import MESSAGE_MAX, clip_message
from hanse.api.progress import Progress
from hanse.controller.reconcile import pods
from hanse.controller.reconcile.draft import Draft
from hanse.controller.reconcile.hints import NEXT_STEPS
from hanse.controller.reconcile.members import Member
from hanse.controller.reconcile.model import ObservedJob

_GOOD_ENDS = (Reason.COMPLETED, Reason.STOPPED_BY_METRIC)


def of_server(draft: Draft, progress: Progress | None, members: list[Member]) -> None:
    """Complete or fail the job when its server has ended for good."""
    job = draft.observed.server_job
    if progress is not None and progress.phase == "Complete":
        reason = progress.reason if progress.reason in _GOOD_ENDS else Reason.COMPLETED
        message = progress.message or f"{progress.completed} of {progress.total} rounds"
        draft.complete(reason, "; ".join(filter(None, (message, _whose_model(draft.observed.spec)))))
    elif job is not None and job.complete:
        draft.complete(Reason.COMPLETED, "the server has ended with exit code 0; its last words were lost")
    elif job is not None and (job.failed or _ended_for_good(draft.observed)):
        draft.fail(*_server_failure(draft.observed, progress, members))
    else:
        _hopeless_server(draft)
        _restless_server(draft)


def _whose_model(spec: FederatedJobSpec | None) -> str:
    """What explains that the status names no model."""
    return who_has_the_model(spec.privacy.model_release) if spec is not None and spec.privacy is not None else ""


def _server_failure(observed: ObservedJob, progress: Progress | None, members: list[Member]) -> tuple[str, str]:
    job = observed.server_job
    assert job is not None
    ended = [(pod, found) for pod in observed.server_pods if (found := pods.failure(pod)) is not None]
    last = max(ended, key=lambda e: str(e[0].meta.created), default=None)
    pod_text = f"; {last[1].message}" if last is not None else ""
    if job.failed_reason == "BackoffLimitExceeded":
        return Reason.BACKOFF_LIMIT_EXCEEDED, f"the server failed more often than backoffLimit allows{pod_text}"
    if progress is not None and progress.phase == "Failed" and progress.reason:
        said = f"{progress.message}{_troubles(members, progress.reason)}{pod_text}"
        return progress.reason, _with_next_step(progress.reason, said)
    if last is not None and last[1].exit_code is not None:
        reason = reason_for(last[1].exit_code)
        return reason, _with_next_step(reason, last[1].message)
    return Reason.CONTAINER_FAILED, f"server Job: {job.failed_reason}: {job.failed_message}"


def _with_next_step(reason: str, message: str) -> str:
    """Where it is too long the next step stays."""
    step = NEXT_STEPS.get(reason, "")
    return f"{clip_message(message, MESSAGE_MAX - len(step) - 2)}: {step}" if step else message


def _ended_for_good(observed: ObservedJob) -> bool:
    """Whether the launcher has ended with a code that no retry changes; its Job waits for the sidecars to end."""
    newest = pods.newest(observed.server_pods)
    found = pods.failure(newest) if newest is not None else None
    return found is not None and found.container == names.CONTAINER_LAUNCHER and found.hopeless


def _troubles(members: list[Member], reason: str) -> str:
    """For a quorum that was missed: what each participant lacked."""
    if reason not in (Reason.QUORUM_NOT_REACHED, Reason.QUORUM_LOST):
        return ""
    missing = [f"{m.name} {m.status.reason}" for m in members if not m.status.ready]
    return f" ({', '.join(missing)})" if missing else ""


def _hopeless_server(draft: Draft) -> None:
    newest = pods.newest(draft.observed.server_pods)
    found = pods.failure(newest) if newest is not None else None
    if found is not None and found.hopeless and found.container != names.CONTAINER_LAUNCHER:
        draft.fail(found.reason, found.message)


def _restless_server(draft: Draft) -> None:
    observed = draft.observed
    if draft.finished or observed.spec is None:
        return
    limit = observed.spec.backoff_limit
    text = pods.too_many_ends(observed.server_job, observed.server_pods, names.CONTAINER_LAUNCHER, limit)
    if text:
        draft.fail(Reason.BACKOFF_LIMIT_EXCEEDED, text)


def of_quorum(draft: Draft, spec: FederatedJobSpec, members: list[Member], completed: int) -> None:
    """Fail the job when too few can still contribute: their common cause, or that the quorum is missed."""
    lost = [m for m in members if m.lost]
    able = len(members) - len(lost)
    if able >= spec.effective_quorum:
        return
    causes = {m.status.reason for m in lost}
    cause = causes.pop() if len(causes) == 1 else ""
    if cause in ("", Reason.PARTICIPANT_LEFT):
        cause = Reason.QUORUM_LOST if completed else Reason.QUORUM_NOT_REACHED
    details = "; ".join(f"{m.name}: {m.status.reason}: {m.status.message}" for m in lost)
    draft.fail(cause, f"{able} of {len(members)} can take part, quorum {spec.effective_quorum}: {details}")
