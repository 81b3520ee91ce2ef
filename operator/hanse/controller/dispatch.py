"""From an object to the keys whose plans depend on it. Used by handlers and resync."""

from collections.abc import Iterator, Mapping
from typing import Any

from hanse.api import names
from hanse.controller import kinds
from hanse.controller.cache import Cache
from hanse.controller.queue import Key
from hanse.controller.views import Custom, View

_OWN = frozenset(
    {kinds.FEDERATED_JOB.kind, kinds.PARTICIPANT.kind, kinds.PARTICIPATION.kind, kinds.PRIVACY_BUDGET.kind}
)


def own_key(raw: Mapping[str, Any]) -> Key | None:
    """The key of an object of our own kinds."""
    kind, metadata = raw.get("kind", ""), raw.get("metadata") or {}
    return Key(kind, metadata.get("namespace", ""), metadata.get("name", "")) if kind in _OWN else None


def keys(view: View, cache: Cache) -> Iterator[Key]:
    """What to visit when this object has changed or is gone."""
    kind = view.meta.kind
    if kind in _OWN:
        yield Key(kind, view.meta.namespace, view.meta.name)
    if kind == kinds.FEDERATED_JOB.kind and isinstance(view, Custom) and not view.status.get("startTime"):
        yield from signers(view)
    if kind == kinds.PARTICIPATION.kind and isinstance(view, Custom):
        reference = view.spec.get("jobRef") or {}
        yield Key(kinds.FEDERATED_JOB.kind, reference.get("namespace", ""), reference.get("name", ""))
    elif kind == kinds.PARTICIPANT.kind:
        yield from _users(view, cache)
    elif kind == kinds.PRIVACY_BUDGET.kind and isinstance(view, Custom):
        yield from _charged(view, cache)
    elif kind in (kinds.JOB.kind, kinds.POD.kind):
        yield from _parent(view)


def signers(job: Custom) -> Iterator[Key]:
    """The Participants of an encrypted job: each needs an identity before it starts."""
    encryption = (job.spec.get("privacy") or {}).get("encryption")
    if encryption is None or encryption.get("scheme") == "None":
        return
    for member in job.spec.get("participants") or []:
        reference = member.get("participantRef") or {}
        yield Key(kinds.PARTICIPANT.kind, reference.get("namespace", ""), reference.get("name", ""))


def _parent(view: View) -> Iterator[Key]:
    labels = view.meta.labels
    job, namespace, uid = (
        labels.get(label, "") for label in (names.LABEL_JOB, names.LABEL_JOB_NAMESPACE, names.LABEL_JOB_UID)
    )
    participant = labels.get(names.LABEL_PARTICIPANT)
    if participant is None:
        yield Key(kinds.FEDERATED_JOB.kind, namespace, job)
    else:
        name = names.participation_name(job, participant, uid)
        yield Key(kinds.PARTICIPATION.kind, view.meta.namespace, name)


def _users(view: View, cache: Cache) -> Iterator[Key]:
    """Jobs that wait for a Participant, and Participations that it governs."""
    here = (view.meta.namespace, view.meta.name)
    for job in cache.customs(kinds.FEDERATED_JOB):
        if job.status.get("startTime"):
            continue
        references = (m.get("participantRef") or {} for m in job.spec.get("participants") or [])
        if any((r.get("namespace"), r.get("name")) == here for r in references):
            yield Key(kinds.FEDERATED_JOB.kind, job.meta.namespace, job.meta.name)
    for participation in cache.customs(kinds.PARTICIPATION):
        name = (participation.spec.get("participantRef") or {}).get("name")
        if (participation.meta.namespace, name) == here:
            yield Key(kinds.PARTICIPATION.kind, participation.meta.namespace, participation.meta.name)


def is_payment(known: Custom | None, view: View) -> bool:
    """Whether nothing has happened to a budget but that a gate has paid for a release."""
    if view.meta.kind != kinds.PRIVACY_BUDGET.kind or not isinstance(view, Custom) or known is None:
        return False
    # What we have written ourselves is known before the watch tells of it.
    if (known.meta.uid, known.spec) != (view.meta.uid, view.spec) or known.status == view.status:
        return False
    return _unpaid(known.status) == _unpaid(view.status)


def _unpaid(status: Mapping[str, Any]) -> dict[str, Any]:
    accounts = {
        name: {key: value for key, value in account.items() if key != "releases"}
        for name, account in (status.get("accounts") or {}).items()
    }
    return {**status, "entries": 0, "accounts": accounts}


def _charged(budget: Custom, cache: Cache) -> Iterator[Key]:
    """Whom a budget pays: Participations show what they have spent, jobs that have not started wait for it."""
    for account in (budget.status.get("accounts") or {}).values():
        reference = account.get("job") or {}
        yield Key(kinds.PARTICIPATION.kind, budget.meta.namespace, account.get("participation", ""))
        job = cache.custom(kinds.FEDERATED_JOB, reference.get("namespace", ""), reference.get("name", ""))
        if job is not None and not job.status.get("startTime"):
            yield Key(kinds.FEDERATED_JOB.kind, job.meta.namespace, job.meta.name)


def followers(job: Custom, cache: Cache) -> Iterator[Key]:
    """The Participations of a job, which repeat its count of rounds; once it is over, the budgets that still wait."""
    for view in cache.of_job(kinds.PARTICIPATION, job.meta.uid):
        yield Key(kinds.PARTICIPATION.kind, view.meta.namespace, view.meta.name)
    if not _is_over(job, cache):
        return
    for budget in cache.customs(kinds.PRIVACY_BUDGET):
        accounts = (budget.status.get("accounts") or {}).values()
        if any((account.get("job") or {}).get("uid") == job.meta.uid for account in accounts):
            yield Key(kinds.PRIVACY_BUDGET.kind, budget.meta.namespace, budget.meta.name)


def _is_over(job: Custom, cache: Cache) -> bool:
    known = cache.custom(kinds.FEDERATED_JOB, job.meta.namespace, job.meta.name)
    if known is None or known.meta.uid != job.meta.uid:
        return True
    conditions = job.status.get("conditions") or []
    return any(c.get("type") in ("Complete", "Failed") and c.get("status") == "True" for c in conditions)
