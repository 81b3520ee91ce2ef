"""What a private job has released so far: status.privacy and each participant's epsilonSpent, from Participations."""

from hanse.api.job import AdversaryEpsilon, ParticipantStatus
from hanse.controller.reconcile.draft import Draft


def enrich(draft: Draft) -> None:
    """Fill them in. With mechanism Local each adversary sees every share alone: the largest one counts for all."""
    privacy = draft.observed.status.privacy
    if privacy is None:
        return
    spent = {
        name: view.status.epsilon.spent
        for name, view in draft.observed.participations.items()
        if view.status.epsilon is not None
    }
    known: list[ParticipantStatus] = draft.values.get("participants", draft.observed.status.participants)
    draft.values["participants"] = [
        p.model_copy(update={"epsilon_spent": spent.get(p.name, p.epsilon_spent)}) for p in known
    ]
    most = max((e for p in draft.values["participants"] if (e := p.epsilon_spent) is not None), key=float, default="0")
    before = {each.adversary: each.spent for each in privacy.epsilon}
    draft.values["privacy"] = privacy.model_copy(
        update={
            "epsilon": [
                AdversaryEpsilon(adversary=adversary, spent=max(most, old, key=float))
                for adversary, old in before.items()
            ]
        }
    )
