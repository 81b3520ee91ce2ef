"""What an encrypted job needs of the world before it starts: identities to pin, and volumes for models.

Called by `acceptance` for each participant, and by `acceptance_privacy` for the plan. What the owners' terms say is in
`hanse.api.encryptionterms`.
"""

from collections.abc import Iterator

from hanse.api.conditions import Reason
from hanse.api.encryptionterms import signer_objections
from hanse.api.job import FederatedJobSpec, JobParticipant
from hanse.controller.reconcile.model import Lookup, ObservedJob

Problem = tuple[Reason, str]


def of_participant(
    observed: ObservedJob, spec: FederatedJobSpec, member: JobParticipant, lookup: Lookup
) -> Iterator[Problem]:
    """What is missing at one owner."""
    if spec.encryption is None or spec.privacy is None or lookup.found is None:
        return
    reference = member.participant_ref
    where = f"Participant {reference.namespace}/{reference.name}"
    if lookup.identity is None:
        yield (
            Reason.IDENTITY_NOT_READY,
            f"{where} has no identity yet (status.identity), which signs for it: it is being made, or its owner runs "
            "`hanse identity create`",
        )
    models = lookup.found.models
    if models is None or spec.privacy.model_release != "Participants":
        return
    if observed.claims.get((reference.namespace, models.claim_name)) is False:
        yield (
            Reason.VOLUME_NOT_READY,
            f"{where}: no PersistentVolumeClaim {models.claim_name!r} (spec.models) in namespace "
            f"{reference.namespace}: create it there",
        )


def of_all(observed: ObservedJob, spec: FederatedJobSpec) -> Iterator[Problem]:
    """What the owners are together."""
    if spec.encryption is not None:
        for objection in signer_objections(identities(observed, spec)):
            yield objection.reason, str(objection)


def identities(observed: ObservedJob, spec: FederatedJobSpec) -> dict[str, str]:
    """Public keys (PEM) by participant, of those that have one."""
    found = {}
    for member in spec.participants:
        lookup = observed.lookups.get((member.participant_ref.namespace, member.participant_ref.name))
        if lookup is not None and lookup.identity is not None:
            found[member.name] = lookup.identity
    return found
