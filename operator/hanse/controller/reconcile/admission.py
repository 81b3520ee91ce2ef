"""A job that has not started: refuse it, hold it (spec.suspend), or start it by writing status and nothing else.

Children come on a later visit that has read startTime back: from then on the API server keeps the spec as it is.
"""

from typing import Any

from hanse.api.conditions import JobCondition, Reason
from hanse.api.job import FederatedJobSpec, FrozenImages, JobPrivacy, ParticipantStatus, RoundStatus
from hanse.api.planhash import canonical_hash
from hanse.controller.reconcile import acceptance_privacy, reserving
from hanse.controller.reconcile.acceptance import refusal
from hanse.controller.reconcile.draft import Draft

#: What nobody tells us of (a claim, a namespace, a Role that appears) is looked for this often.
RETRY_SECONDS = 5.0
#: Fields of the spec that may change while the job runs: no part of what was agreed.
MUTABLE = frozenset({"suspend", "ttlSecondsAfterFinished"})


def admit(draft: Draft) -> None:
    """Decide whether the job starts."""
    observed = draft.observed
    refused = refusal(observed)
    if refused is not None or observed.spec is None:
        assert refused is not None  # without a spec there is always a refusal
        draft.conditions.set(JobCondition.ACCEPTED, "False", refused.reason, refused.message)
        draft.conditions.set(JobCondition.SUSPENDED, "False", Reason.NOT_SUSPENDED, "the job has not started")
        draft.wake(RETRY_SECONDS)
        if observed.spec is not None:
            reserving.release(draft, observed.spec)
        return
    spec = observed.spec
    images = _images(draft, spec)
    privacy = acceptance_privacy.job_privacy(observed, spec, images)
    if spec.suspend:
        reserving.release(draft, spec)
    elif not reserving.reserve(draft, spec, images, privacy):
        return
    draft.conditions.set(JobCondition.ACCEPTED, "True", Reason.ACCEPTED, "every participant allows it")
    draft.conditions.set(JobCondition.FAILED, "False", Reason.NOT_FAILED, "")
    if spec.suspend:
        draft.conditions.set(JobCondition.SUSPENDED, "True", Reason.SUSPENDED, "spec.suspend is true: not started")
        return
    draft.conditions.set(JobCondition.SUSPENDED, "False", Reason.NOT_SUSPENDED, "")
    draft.conditions.set(JobCondition.COMPLETE, "False", Reason.STARTING, "")
    _start(draft, spec, images, privacy)


def _images(draft: Draft, spec: FederatedJobSpec) -> FrozenImages:
    defaults = draft.observed.defaults
    return FrozenImages(server=defaults.server_image, gate=defaults.gate_image, trainer=spec.app.image)


def _start(draft: Draft, spec: FederatedJobSpec, images: FrozenImages, privacy: JobPrivacy | None) -> None:
    draft.values.update(
        start_time=draft.now,
        active_since=draft.now,
        active_seconds=0,
        starts=1,
        images=images,
        plan_hash=plan_hash(spec, images),
        round=RoundStatus(completed=0, total=spec.rounds),
        participants=[ParticipantStatus(name=member.name) for member in spec.participants],
        privacy=privacy,
    )
    draft.wake(0)


def plan_hash(spec: FederatedJobSpec, images: FrozenImages) -> str:
    """Hash of what was started: the spec without what may change, and the images."""
    agreed: dict[str, Any] = {key: value for key, value in spec.to_wire().items() if key not in MUTABLE}
    return canonical_hash({"spec": agreed, "images": images.to_wire()})
