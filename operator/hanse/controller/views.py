"""Slim, frozen copies of what the API server sends: only the fields that decisions are made from. Made by the cache."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Meta:
    """Of any object."""

    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str = ""
    generation: int = 0
    created: datetime | None = None
    deleting: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    owner_uid: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name


@dataclass(frozen=True)
class Custom:
    """An object of our own kinds, its spec and status as they came."""

    meta: Meta
    spec: Json
    status: Json


@dataclass(frozen=True)
class JobView:
    """A batch/v1 Job."""

    meta: Meta
    suspended: bool = False
    complete: bool = False
    failed: bool = False
    failed_reason: str = ""
    failed_message: str = ""
    start_time: datetime | None = None
    active: int = 0
    failures: int = 0

    @property
    def finished(self) -> bool:
        return self.complete or self.failed


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    exit_code: int
    reason: str = ""
    message: str = ""
    finished_at: datetime | None = None


@dataclass(frozen=True)
class ContainerView:
    """A container's status. `last` is how its run before this one ended."""

    name: str
    init: bool = False
    ready: bool = False
    running: bool = False
    restarts: int = 0
    waiting_reason: str = ""
    waiting_message: str = ""
    ended: Ended | None = None
    last: Ended | None = None


@dataclass(frozen=True)
class PodView:
    """A pod."""

    meta: Meta
    phase: str = "Pending"
    ready: bool = False
    scheduled: bool = False
    unschedulable: str = ""
    scheduled_at: datetime | None = None
    sandbox_ready: bool = False
    disrupted: bool = False
    reason: str = ""
    message: str = ""
    containers: tuple[ContainerView, ...] = ()

    @property
    def ended(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    def container(self, name: str) -> ContainerView | None:
        """The container of that name."""
        return next((c for c in self.containers if c.name == name), None)


View = Custom | JobView | PodView


def parse_time(text: str | None) -> datetime | None:
    """An RFC 3339 time."""
    return datetime.fromisoformat(text) if text else None


def parse_meta(raw: Json) -> Meta:
    """metadata of an object."""
    meta = raw.get("metadata") or {}
    owner: Json = next((o for o in meta.get("ownerReferences") or [] if o.get("controller")), {})
    return Meta(
        kind=raw.get("kind", ""),
        namespace=meta.get("namespace", ""),
        name=meta.get("name", ""),
        uid=meta.get("uid", ""),
        resource_version=meta.get("resourceVersion", ""),
        generation=meta.get("generation", 0),
        created=parse_time(meta.get("creationTimestamp")),
        deleting="deletionTimestamp" in meta,
        labels=dict(meta.get("labels") or {}),
        owner_uid=owner.get("uid", ""),
    )


def parse(raw: Json) -> View:
    """The view of an object of a watched kind."""
    match raw.get("kind"):
        case "Job":
            return parse_job(raw)
        case "Pod":
            return parse_pod(raw)
        case _:
            return Custom(parse_meta(raw), _plain(raw.get("spec")), _plain(raw.get("status")))


def parse_job(raw: Json) -> JobView:
    """A batch/v1 Job."""
    status = raw.get("status") or {}
    true = {c["type"]: c for c in status.get("conditions") or [] if c.get("status") == "True"}
    # FailureTarget and SuccessCriteriaMet come while pods still end: the outcome is known already.
    failed = true.get("Failed") or true.get("FailureTarget")
    complete = true.get("Complete") or true.get("SuccessCriteriaMet")
    return JobView(
        meta=parse_meta(raw),
        suspended=bool((raw.get("spec") or {}).get("suspend")),
        complete=complete is not None,
        failed=failed is not None,
        failed_reason=(failed or {}).get("reason", ""),
        failed_message=(failed or {}).get("message", ""),
        start_time=parse_time(status.get("startTime")),
        active=status.get("active", 0),
        failures=status.get("failed", 0),
    )


def parse_pod(raw: Json) -> PodView:
    """A pod."""
    status = raw.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    scheduled = conditions.get("PodScheduled") or {}
    containers = [_container(c, init=True) for c in status.get("initContainerStatuses") or []]
    containers += [_container(c, init=False) for c in status.get("containerStatuses") or []]
    return PodView(
        meta=parse_meta(raw),
        phase=status.get("phase", "Pending"),
        ready=_is_true(conditions, "Ready"),
        scheduled=scheduled.get("status") == "True",
        unschedulable=scheduled.get("message", "") if scheduled.get("reason") == "Unschedulable" else "",
        scheduled_at=parse_time(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None,
        sandbox_ready=_is_true(conditions, "PodReadyToStartContainers"),
        disrupted=_is_true(conditions, "DisruptionTarget"),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        containers=tuple(containers),
    )


def _container(raw: Json, *, init: bool) -> ContainerView:
    state = raw.get("state") or {}
    waiting = state.get("waiting") or {}
    return ContainerView(
        name=raw.get("name", ""),
        init=init,
        ready=bool(raw.get("ready")),
        running="running" in state,
        restarts=raw.get("restartCount", 0),
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        ended=_ended(state.get("terminated")),
        last=_ended((raw.get("lastState") or {}).get("terminated")),
    )


def _ended(raw: Json | None) -> Ended | None:
    if not raw:
        return None
    return Ended(
        exit_code=raw.get("exitCode", 0),
        reason=raw.get("reason", ""),
        message=raw.get("message", ""),
        finished_at=parse_time(raw.get("finishedAt")),
    )


def _is_true(conditions: Mapping[str, Json], name: str) -> bool:
    return (conditions.get(name) or {}).get("status") == "True"


def _plain(value: Any) -> dict[str, Any]:
    """kopf hands out read-only views of its own memory: keep plain data."""
    return dict(value) if value else {}
