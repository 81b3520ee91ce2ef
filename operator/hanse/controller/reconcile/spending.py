"""What a private job has released so far: status.privacy and each participant's epsilonSpent, from Participations."""

from collections.abc import Mapping

from hanse.api.job import AdversaryEpsilon, JobPrivacy, ParticipantStatus
from hanse.api.participation import ParticipationEpsilon
from hanse.api.privacy import Adversary
from hanse.controller.reconcile.draft import Draft


def enrich(draft: Draft) -> None:
    """Fill them in. Each adversary is told of by the participant that has lost most to it."""
    privacy: JobPrivacy | None = draft.values.get("privacy", draft.observed.status.privacy)
    if privacy is None or privacy.plan is None:
        return
    known = {
        name: view.status.epsilon
        for name, view in draft.observed.participations.items()
        if view.status.epsilon is not None
    }
    members: list[ParticipantStatus] = draft.values.get("participants", draft.observed.status.participants)
    draft.values["participants"] = [
        p.model_copy(update={"epsilon_spent": known[p.name].spent if p.name in known else p.epsilon_spent})
        for p in members
    ]
    before: dict[Adversary, str] = {each.adversary: each.spent for each in privacy.epsilon}
    draft.values["privacy"] = privacy.model_copy(
        update={
            "epsilon": [
                AdversaryEpsilon(adversary=adversary, spent=max(old, *_told(known, adversary), key=float))
                for adversary, old in before.items()
            ]
        }
    )


def _told(known: Mapping[str, ParticipationEpsilon], adversary: Adversary) -> list[str]:
    """What Participations say of one adversary; at least 0."""
    found = [e.spent for each in known.values() for e in each.against if e.adversary == adversary]
    return found or ["0"]
