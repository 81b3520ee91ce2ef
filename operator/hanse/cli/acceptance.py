"""The operator's acceptance of a job, before anything is submitted. `hanse check` and `hanse run` apply it.

The operator decides; this is the same judgement on the Participants that are in the files. Privacy is in `privacy`.
"""

from collections.abc import Iterator, Mapping

from hanse.api.apps import BUILT_IN_APPS, NEEDS_SCHEMA, is_platform_app
from hanse.api.conditions import Reason
from hanse.api.job import FederatedJobSpec, JobParticipant
from hanse.api.participant import ParticipantSpec
from hanse.cli.privacy import Budgets, findings
from hanse.cli.privacy import Finding as Finding
from hanse.cli.yamlfiles import Location


def acceptance(
    namespace: str,
    spec: FederatedJobSpec,
    participants: Mapping[tuple[str, str], ParticipantSpec],
    budgets: Budgets | None = None,
) -> Iterator[Finding]:
    """What the operator would refuse, given these Participants and PrivacyBudgets by (namespace, name)."""
    app = spec.app.client_app
    if is_platform_app(app) and app not in BUILT_IN_APPS:
        yield Finding(
            ("spec", "app", "clientApp"),
            f"{app} is not one of the built-in apps",
            f"Use one of {', '.join(sorted(BUILT_IN_APPS))}, or an app of your own.",
            Reason.INVALID_SPEC,
        )
    seen: set[tuple[str, str]] = set()
    for index, participant in enumerate(spec.participants):
        ref = (participant.participant_ref.namespace, participant.participant_ref.name)
        if ref in seen:
            yield Finding(
                ("spec", "participants", index, "participantRef"),
                f"Participant {ref[0]}/{ref[1]} appears twice",
                "Name each Participant once.",
                Reason.DUPLICATE_PARTICIPANT,
            )
            continue
        seen.add(ref)
        yield from _accept_one(namespace, app, index, participant, participants)
    yield from findings(spec, participants, budgets or {})


def _accept_one(
    namespace: str,
    app: str,
    index: int,
    participant: JobParticipant,
    participants: Mapping[tuple[str, str], ParticipantSpec],
) -> Iterator[Finding]:
    ref = participant.participant_ref
    shown = f"{ref.namespace}/{ref.name}"
    here: Location = ("spec", "participants", index)
    owner = participants.get((ref.namespace, ref.name))
    if owner is None:
        yield Finding(
            (*here, "participantRef"),
            f"Participant {shown} is not there",
            f"The owner applies a Participant {ref.name} in namespace {ref.namespace}.",
            Reason.PARTICIPANT_NOT_FOUND,
        )
        return
    if namespace not in owner.policy.namespaces:
        allowed = ", ".join(owner.policy.namespaces) or "nobody's"
        yield Finding(
            (*here, "participantRef"),
            f"Participant {shown} does not take part in jobs of namespace {namespace} (it allows: {allowed})",
            f"The owner adds {namespace} to spec.policy.namespaces of {shown}.",
            Reason.NAMESPACE_NOT_ALLOWED,
        )
    yield from _accept_dataset(app, (*here, "dataset"), participant.dataset, owner, shown)


def _accept_dataset(app: str, here: Location, name: str, owner: ParticipantSpec, shown: str) -> Iterator[Finding]:
    dataset = owner.dataset(name)
    if dataset is None:
        known = ", ".join(d.name for d in owner.datasets)
        yield Finding(
            here,
            f"Participant {shown} has no dataset {name}",
            f"Use one of its datasets: {known}.",
            Reason.DATASET_NOT_DECLARED,
        )
    elif app in NEEDS_SCHEMA and dataset.schema_ is None:
        yield Finding(
            here,
            f"dataset {name} of Participant {shown} has no schema, which {app} needs",
            "The owner adds schema with label and features to the dataset.",
            Reason.DATASET_INVALID,
        )
