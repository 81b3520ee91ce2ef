"""What an owner is asked: the plan of its Participation. Called when its budget is reserved, and when it is made."""

from typing import Any

from hanse.api import names
from hanse.api.encryptionplan import smallest_batch
from hanse.api.job import FederatedJobSpec, FrozenImages, JobParticipant, JobPrivacy
from hanse.api.participation import ParticipationPlan
from hanse.controller.reconcile.deadline import CLIENT_GRACE_SECONDS
from hanse.controller.views import Meta


def participation_plan(
    meta: Meta,
    spec: FederatedJobSpec,
    member: JobParticipant,
    index: int,
    images: FrozenImages,
    privacy: JobPrivacy | None,
) -> ParticipationPlan:
    """The plan but for the CA's certificate, which is made only after budgets are reserved for this very plan.

    Its hash is the planHash of Participation, client.json and the owner's ledger.
    """
    deadline = spec.active_deadline_seconds
    return ParticipationPlan(
        participant=member.name,
        index=index,
        participants=len(spec.participants),
        dataset=member.dataset,
        image=images.trainer,
        gate_image=images.gate,
        client_app=spec.app.client_app,
        config=spec.app.config,
        rounds=spec.rounds,
        quorum=spec.effective_quorum,
        server_address=f"{names.server_host(meta.name, meta.namespace)}:{names.FRONT_PORT}",
        ca_certificate="",
        active_deadline_seconds=deadline + CLIENT_GRACE_SECONDS if deadline is not None else None,
        backoff_limit=spec.backoff_limit,
        compression=spec.compression,
        aggregation=spec.aggregation,
        personal_layers=spec.app.personal_layers,
        **_privacy(privacy, spec, member.name),
    )


def _privacy(privacy: JobPrivacy | None, spec: FederatedJobSpec, name: str) -> dict[str, Any]:
    """From what was frozen at the start, not from what owners say now."""
    if privacy is None:
        return {}
    initial = spec.app.initial_model
    asked: dict[str, Any] = {
        "encryption": privacy.encryption_plan,
        "initial_seed": initial.seed if initial is not None else 0,
    }
    if privacy.plan is None:
        return asked
    owner = privacy.owners[name]
    return asked | {
        "privacy": privacy.plan_of(name),
        "population": owner.population,
        "records": owner.records,
        "smallest_batch": smallest_batch(privacy.plan, {n: each.records for n, each in privacy.owners.items()}),
    }
