"""Progress into status: rounds, history, model.

A push may be lost and a termination message cut: nothing that is known is dropped.
"""

from hanse.api import names
from hanse.api.job import MAX_ROUND_HISTORY, FederatedJobStatus, ModelStatus, RoundRecord, RoundStatus
from hanse.api.progress import Progress
from hanse.controller.manifests.server import OUTPUT_SUB_PATH
from hanse.controller.reconcile.draft import Draft
from hanse.controller.reconcile.model import ObservedJob
from hanse.controller.reconcile.pods import newest as newest_pod
from hanse.controller.views import PodView


def newest_progress(observed: ObservedJob) -> Progress | None:
    """The newest of what was pushed and what ended launchers left as their termination message."""
    found = [p for p in (observed.progress, *map(_left_behind, observed.server_pods)) if p is not None]
    ours = [p for p in found if p.job_uid == observed.meta.uid]
    newest = max(ours, key=lambda p: (p.updated_at, p.sequence), default=None)
    return newest if newest is None or _is_current(observed, newest) else _as_history(newest)


def _is_current(observed: ObservedJob, progress: Progress) -> bool:
    """Whether it tells of now: what a pod said that is no longer the server (suspended, drained) is history."""
    server = newest_pod(observed.server_pods)
    return progress.phase == "Complete" or (server is not None and progress.pod in ("", server.meta.name))


def _as_history(progress: Progress) -> Progress:
    gone = [p.model_copy(update={"connected": False}) for p in progress.participants]
    return progress.model_copy(
        update={"phase": "Starting", "participants": gone, "eta_seconds": None, "round_started_at": None}
    )


def _left_behind(pod: PodView) -> Progress | None:
    launcher = pod.container(names.CONTAINER_LAUNCHER)
    if launcher is None or launcher.ended is None or not launcher.ended.message.startswith("{"):
        return None
    try:
        found = Progress.model_validate_json(launcher.ended.message)
    except ValueError:
        return None  # the last lines of a log (FallbackToLogsOnError), not a termination message
    return found.model_copy(update={"pod": pod.meta.name})


def enrich(draft: Draft) -> Progress | None:
    """Write what progress says into the status; the progress that was used."""
    observed = draft.observed
    progress = newest_progress(observed)
    if progress is None:
        return None
    records = merge(observed.status.rounds, progress.rounds, progress.completed)
    known = observed.status.round
    completed = max(progress.completed, records[0].number if records else 0)
    if known is not None and progress.phase == "Starting":
        completed = max(completed, known.completed)  # a resumed run has not read its checkpoint yet
    draft.values["rounds"] = records
    draft.values["round"] = RoundStatus(
        completed=completed,
        total=progress.total or (known.total if known is not None else 0),
        started_at=progress.round_started_at.replace(microsecond=0) if progress.round_started_at else None,
        eta_seconds=progress.eta_seconds,
    )
    if progress.model is not None:
        draft.values["model"] = _model(observed, progress)
    return progress


def merge(known: list[RoundRecord], pushed: list[RoundRecord], completed: int) -> list[RoundRecord]:
    """The newest 20 records, newest first; a record that was pushed replaces the known one of its number."""
    limit = max(completed, max((r.number for r in pushed), default=0))
    by_number = {r.number: r for r in known if not limit or r.number <= limit}
    by_number.update((r.number, r) for r in pushed)
    return sorted(by_number.values(), key=lambda r: -r.number)[:MAX_ROUND_HISTORY]


def _model(observed: ObservedJob, progress: Progress) -> ModelStatus:
    assert progress.model is not None
    claim = observed.spec.output.claim_name if observed.spec is not None else None
    path = progress.model.path
    return ModelStatus(
        claim=claim or names.state_claim_name(observed.meta.name),
        path=path if claim is not None else f"{OUTPUT_SUB_PATH}/{path}",
        digest=progress.model.digest,
        bytes=progress.model.bytes,
    )


def completed_rounds(status: FederatedJobStatus, draft: Draft) -> int:
    """Rounds completed, as far as is known now."""
    current: RoundStatus | None = draft.values.get("round", status.round)
    return current.completed if current is not None else 0
