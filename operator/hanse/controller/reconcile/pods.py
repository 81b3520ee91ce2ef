"""Why a pod is not ready, or how it ended: from its status to one reason of the published list. Used by both plans.

Texts of containers are in `log` alone, which never leaves the pod's namespace unless the container is app-check.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hanse.api import names
from hanse.api.conditions import Reason
from hanse.api.exitcodes import PERMANENT, ExitCode, reason_for
from hanse.controller.views import ContainerView, Ended, JobView, PodView

#: Restarts of a sidecar in one pod after which it is taken for hopeless.
CRASH_LOOP_RESTARTS = 5
#: How long sandbox, network and volumes of a scheduled pod may take before we say that we wait for them.
VOLUME_PATIENCE = timedelta(seconds=20)

_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"})
_REFUSED = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
#: Fields of a Participant's spec.podTemplate.
_MEMORY = {names.CONTAINER_TRAINER: "resources", names.CONTAINER_GATE: "gateResources"}
_SIDECARS = frozenset({names.CONTAINER_FRONT, names.CONTAINER_SUPERLINK, names.CONTAINER_GATE})


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a pod. `message` may be shown anywhere, `log` only in the pod's own namespace."""

    reason: Reason
    message: str
    container: str = ""
    exit_code: int | None = None
    log: str = ""
    finished_at: datetime | None = None
    #: Trying again changes nothing.
    hopeless: bool = False
    #: ... and the Job does not know: it has to be removed.
    unseen: bool = False


def newest(pods: Iterable[PodView]) -> PodView | None:
    """The pod that counts: the newest."""
    return max(pods, key=lambda p: (p.meta.created is not None, p.meta.created, p.meta.name), default=None)


def too_many_ends(job: JobView | None, pods: Iterable[PodView], main: str, limit: int) -> str:
    """What is wrong when a Job has used up `limit` retries counting what its own policy leaves out; else nothing.

    Its podFailurePolicy ignores the exit code Drained, so that no suspension by a queue counts. But without a
    disruption or a deletion it is only a process that ends, and anybody's app can end with any code.
    """
    if job is None or job.finished:
        return ""
    own = [p for p in pods if p.meta.owner_uid == job.meta.uid and not p.disrupted and not p.meta.deleting]
    ends = [c.ended for p in own if (c := p.container(main)) is not None and c.ended is not None]
    drained = sum(1 for ended in ends if ended.exit_code == ExitCode.DRAINED)
    if not drained or drained + job.failures <= limit:
        return ""
    return (
        f"container {main} ended {drained} times as if drained, though nothing had disrupted it; backoffLimit {limit}"
    )


def has_ended_well(pod: PodView) -> bool:
    """Whether the trainer of a client pod has done its work; the sidecars may still be ending."""
    trainer = pod.container(names.CONTAINER_TRAINER)
    return trainer is not None and trainer.ended is not None and trainer.ended.exit_code == 0


def diagnose(pod: PodView, now: datetime) -> Diagnosis | None:
    """What is wrong with a pod, None when nothing is known to be."""
    return failure(pod) or _waiting(pod) or _placement(pod, now)


def failure(pod: PodView) -> Diagnosis | None:
    """How a pod's container failed: the main container first, then init containers, then sidecars that crash."""
    for container in sorted(pod.containers, key=lambda c: (c.name in _SIDECARS, c.init)):
        sidecar = container.name in _SIDECARS
        found = _crash_loop(pod, container) if sidecar else _ended(pod, container, container.ended)
        if found is not None:
            return found
    if pod.phase == "Failed" and not any(c.ended for c in pod.containers):
        text = pod.message or "no container was started"
        return Diagnosis(Reason.POD_REFUSED, f"pod {pod.meta.name}: {pod.reason or 'Failed'}: {text}")
    return None


def _remedy(container: ContainerView, reason: Reason) -> str:
    """Where the owner raises what was too little."""
    field = _MEMORY.get(container.name)
    if reason is not Reason.OUT_OF_MEMORY or field is None:
        return ""
    return f": raise memory in the Participant's podTemplate.{field}"


def _ended(pod: PodView, container: ContainerView, ended: Ended | None) -> Diagnosis | None:
    if ended is None or ended.exit_code == 0:
        return None
    reason = Reason.OUT_OF_MEMORY if ended.reason == "OOMKilled" else reason_for(ended.exit_code)
    permanent = ended.exit_code in PERMANENT
    killed = ended.reason == "OOMKilled" and container.name == names.CONTAINER_TRAINER
    return Diagnosis(
        reason=reason,
        message=f"pod {pod.meta.name}: container {container.name} ended with exit code {ended.exit_code} ({reason})"
        + _remedy(container, reason),
        container=container.name,
        exit_code=ended.exit_code,
        log=ended.message,
        finished_at=ended.finished_at,
        # The Job fails too, but only when the sidecars have ended as well.
        hopeless=permanent or killed,
        # podFailurePolicy cannot tell an OOM kill from any kill; the same data needs the same memory again.
        unseen=killed,
    )


def _crash_loop(pod: PodView, container: ContainerView) -> Diagnosis | None:
    ended = container.ended or container.last
    if container.running or ended is None or container.restarts == 0 or pod.ended:
        return None
    hopeless = container.restarts >= CRASH_LOOP_RESTARTS
    cause = Reason.OUT_OF_MEMORY if ended.reason == "OOMKilled" else reason_for(ended.exit_code)
    return Diagnosis(
        reason=Reason.SIDECAR_CRASH_LOOP if hopeless else cause,
        message=(
            f"pod {pod.meta.name}: sidecar {container.name} was restarted {container.restarts} times, "
            f"last exit code {ended.exit_code} ({cause}){_remedy(container, cause)}"
        ),
        container=container.name,
        exit_code=ended.exit_code,
        log=ended.message,
        finished_at=ended.finished_at,
        hopeless=hopeless,
    )


def _waiting(pod: PodView) -> Diagnosis | None:
    for container in pod.containers:
        if container.waiting_reason in _IMAGE:
            text = f"pod {pod.meta.name}: container {container.name}: {container.waiting_message}"
            return Diagnosis(Reason.IMAGE_PULL_FAILED, text, container.name)
        if container.waiting_reason in _REFUSED:
            text = f"pod {pod.meta.name}: container {container.name}: {container.waiting_message}"
            return Diagnosis(Reason.POD_REFUSED, text, container.name)
    return None


def _placement(pod: PodView, now: datetime) -> Diagnosis | None:
    if pod.unschedulable and not pod.scheduled:
        return Diagnosis(Reason.UNSCHEDULABLE, f"pod {pod.meta.name}: {pod.unschedulable}")
    late = pod.scheduled_at is not None and now - pod.scheduled_at > VOLUME_PATIENCE
    if pod.phase == "Pending" and late and not pod.sandbox_ready:
        hint = f"kubectl -n {pod.meta.namespace} describe pod {pod.meta.name}"
        return Diagnosis(Reason.VOLUME_NOT_READY, f"pod {pod.meta.name} waits for its volumes or network: {hint}")
    return None
