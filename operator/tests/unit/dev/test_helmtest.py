"""What `helm test` creates is valid, and what it says of a job."""

from typing import Any

import pytest

from hanse.api.job import FederatedJobSpec
from hanse.api.participant import ParticipantSpec
from hanse.dev.helmtest import Settings, build_objects, outcome


def settings(*owners: str) -> Settings:
    return Settings(
        coordinator="consortium",
        owners=(owners[0], owners[-1]),
        app_image="hanse/server@sha256:00",
        seed_image="hanse/operator@sha256:00",
        storage_class="",
        timeout=300,
    )


@pytest.mark.parametrize("owners", [("bank-a", "bank-b"), ("bank-a",)])
def test_the_objects_are_valid_and_have_names_of_their_own(owners: tuple[str, ...]) -> None:
    objects = build_objects(settings(*owners))
    identities = [(o["kind"], o["metadata"]["namespace"], o["metadata"]["name"]) for o in objects]
    assert len(set(identities)) == len(identities) == 7
    job = FederatedJobSpec.model_validate(objects[-1]["spec"])
    participants = {
        (o["metadata"]["namespace"], o["metadata"]["name"]): ParticipantSpec.model_validate(o["spec"])
        for o in objects
        if o["kind"] == "Participant"
    }
    for member in job.participants:
        owner = participants[(member.participant_ref.namespace, member.participant_ref.name)]
        assert owner.policy.namespaces == ["consortium"]
        assert owner.dataset(member.dataset) is not None


def job(*conditions: tuple[str, str, str]) -> dict[str, Any]:
    made = [{"type": t, "status": s, "reason": r, "message": "what to do"} for t, s, r in conditions]
    return {"status": {"summary": {"state": "X", "round": "1/2", "participants": "2/2"}, "conditions": made}}


@pytest.mark.parametrize(
    ("observed", "complete", "text"),
    [
        ({}, None, "Pending round - of -"),
        (job(("Accepted", "True", "Accepted"), ("Complete", "False", "NotCompleted")), None, "X round 1/2 of 2/2"),
        (job(("Complete", "True", "Completed")), True, "Completed: what to do"),
        (job(("Failed", "True", "QuorumNotReached")), False, "QuorumNotReached: what to do"),
        (job(("Accepted", "False", "PermissionDenied")), None, "PermissionDenied: what to do"),
    ],
)
def test_outcome(observed: dict[str, Any], complete: bool | None, text: str) -> None:
    found, line = outcome(observed)
    assert found is complete
    assert text in line
