"""Whether a job may start (spec.app, spec.participants, spec.output): the first reason why not, and the next step.
spec.privacy and the owners' policies are in `acceptance_privacy`.

A refusal is not an end: it is decided anew whenever the world changes.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from hanse.api.apps import BUILT_IN_APPS, NEEDS_SCHEMA, is_platform_app
from hanse.api.conditions import Reason
from hanse.api.job import FederatedJobSpec, JobParticipant
from hanse.api.participant import Dataset
from hanse.controller.reconcile import acceptance_encryption, acceptance_privacy
from hanse.controller.reconcile.hints import permission_hint as permission_hint
from hanse.controller.reconcile.model import Lookup, ObservedJob

_DIGEST = re.compile(r"^.+@sha256:[0-9a-f]{64}$")


@dataclass(frozen=True)
class Refusal:
    """Why the job is not started, with the next step."""

    reason: Reason
    message: str


def refusal(observed: ObservedJob) -> Refusal | None:
    """The first thing that stands in the way, None when nothing does."""
    if observed.spec is None:
        return Refusal(Reason.INVALID_SPEC, observed.spec_error)
    return next(_refusals(observed, observed.spec), None)


def _refusals(observed: ObservedJob, spec: FederatedJobSpec) -> Iterator[Refusal]:
    yield from _app(observed, spec)
    yield from (Refusal(*problem) for problem in acceptance_privacy.of_job(spec))
    yield from _duplicates(spec)
    for member in spec.participants:
        yield from _participant(observed, spec, member)
    yield from (Refusal(*problem) for problem in acceptance_privacy.of_all(observed, spec))
    yield from (Refusal(*problem) for problem in acceptance_encryption.of_all(observed, spec))
    claim = spec.output.claim_name
    if claim is not None and observed.claims.get((observed.meta.namespace, claim)) is False:
        yield Refusal(
            Reason.VOLUME_NOT_READY,
            f"output.claimName: no PersistentVolumeClaim {claim!r} in namespace {observed.meta.namespace}: "
            "create it, or use output.storage",
        )


def _app(observed: ObservedJob, spec: FederatedJobSpec) -> Iterator[Refusal]:
    if not observed.defaults.allow_image_tags and not _DIGEST.match(spec.app.image):
        yield Refusal(
            Reason.IMAGE_NOT_PINNED,
            f"app.image {spec.app.image!r} is not pinned: name it by digest (…@sha256:<64 hex digits>)",
        )
    app = spec.app.client_app
    if is_platform_app(app) and app not in BUILT_IN_APPS:
        known = ", ".join(sorted(BUILT_IN_APPS))
        yield Refusal(Reason.INVALID_SPEC, f"app.clientApp {app!r} is not one of the built-in apps: {known}")


def _duplicates(spec: FederatedJobSpec) -> Iterator[Refusal]:
    for name, count in Counter(m.name for m in spec.participants).items():
        if count > 1:
            yield Refusal(
                Reason.DUPLICATE_PARTICIPANT, f"participants: the name {name!r} appears {count} times: rename one"
            )
    references = Counter((m.participant_ref.namespace, m.participant_ref.name) for m in spec.participants)
    for (namespace, name), count in references.items():
        if count > 1:
            yield Refusal(
                Reason.DUPLICATE_PARTICIPANT,
                f"participants: participantRef {namespace}/{name} appears {count} times: keep one of them",
            )


def _participant(observed: ObservedJob, spec: FederatedJobSpec, member: JobParticipant) -> Iterator[Refusal]:
    reference = member.participant_ref
    lookup = observed.lookups.get((reference.namespace, reference.name), Lookup())
    owner = lookup.found
    if owner is None:
        yield _not_found(member, lookup)
    elif observed.meta.namespace not in owner.policy.namespaces:
        yield Refusal(
            Reason.NAMESPACE_NOT_ALLOWED,
            f"Participant {_where(member)} does not allow jobs of namespace {observed.meta.namespace}: "
            "its owner adds it to spec.policy.namespaces",
        )
    elif (dataset := owner.dataset(member.dataset)) is None:
        known = ", ".join(d.name for d in owner.datasets)
        yield Refusal(
            Reason.DATASET_NOT_DECLARED,
            f"participant {member.name!r}: Participant {_where(member)} has no dataset {member.dataset!r}; "
            f"it has: {known}",
        )
    else:
        yield from _schema(spec, member, dataset)
        problems = acceptance_privacy.of_participant(observed, spec, member, owner, dataset)
        yield from (Refusal(*problem) for problem in problems)
        yield from (Refusal(*p) for p in acceptance_encryption.of_participant(observed, spec, member, lookup))
        yield from _volume(observed, member, dataset)


def _where(member: JobParticipant) -> str:
    return f"{member.participant_ref.namespace}/{member.participant_ref.name}"


def _not_found(member: JobParticipant, lookup: Lookup) -> Refusal:
    if lookup.denied:
        return Refusal(Reason.PERMISSION_DENIED, permission_hint(member.participant_ref.namespace))
    if lookup.invalid:
        return Refusal(Reason.INVALID_SPEC, f"Participant {_where(member)} is not valid: {lookup.invalid}")
    return Refusal(
        Reason.PARTICIPANT_NOT_FOUND,
        f"participant {member.name!r}: no Participant {_where(member)}: its owner creates it, or correct "
        "participantRef",
    )


def _schema(spec: FederatedJobSpec, member: JobParticipant, dataset: Dataset) -> Iterator[Refusal]:
    if spec.app.client_app in NEEDS_SCHEMA and dataset.schema_ is None:
        yield Refusal(
            Reason.DATASET_INVALID,
            f"dataset {member.dataset!r} of Participant {_where(member)} has no schema, which {spec.app.client_app} "
            "needs: its owner adds spec.datasets[].schema",
        )


def _volume(observed: ObservedJob, member: JobParticipant, dataset: Dataset) -> Iterator[Refusal]:
    namespace = member.participant_ref.namespace
    claim = dataset.source.persistent_volume_claim.claim_name
    if observed.claims.get((namespace, claim)) is False:
        yield Refusal(
            Reason.DATASET_NOT_FOUND,
            f"dataset {member.dataset!r} of Participant {_where(member)}: no PersistentVolumeClaim {claim!r} in "
            f"namespace {namespace}: create it there",
        )
