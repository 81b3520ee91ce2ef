"""What an owner has against a private Participation that runs: its policy of now, against the plan as it was asked."""

from typing import Any

import pytest

from hanse.api.participant import Dataset, ParticipantPolicy, ParticipantSpec
from hanse.api.participation import ParticipationPlan
from hanse.api.privacy import PrivacyPlan
from hanse.api.terms import standing

PLAN = PrivacyPlan(unit="Record", adjacency="AddRemove", epsilon="3", delta="1e-5", clip="1", noise_multipliers=["1"])
ASKED = ParticipationPlan(
    participant="bank-a",
    index=0,
    participants=2,
    dataset="loans",
    image="hanse/trainer@sha256:1",
    gate_image="gate",
    client_app="hanse.runtime.apps.tabular:app",
    rounds=1,
    server_address="x:1",
    ca_certificate="",
    privacy=PLAN,
    population="borrowers",
    records=100,
)


def reasons(policy: dict[str, Any], dataset: dict[str, Any]) -> list[str]:
    source = {"persistentVolumeClaim": {"claimName": "loans"}, "path": "loans.csv"}
    declared = Dataset.model_validate({"name": "loans", "source": source, "population": "borrowers"} | dataset)
    owner = ParticipantSpec(organisation="A", datasets=[declared], policy=ParticipantPolicy.model_validate(policy))
    return [o.reason.value for o in standing(ASKED, "bank-a/bank-a", owner, declared, {"ServerAndOne": 3.0})]


@pytest.mark.parametrize(
    ("policy", "dataset", "reason"),
    [
        ({"maxEpsilonPerJob": "2"}, {}, "EpsilonTooLarge"),
        ({"images": ["hanse/trainer@sha256:2"]}, {}, "ImageNotAllowed"),
        ({"images": ["hanse/trainer?sha256:1"]}, {}, "ImageNotAllowed"),
        ({"recordApps": ["audited:app"]}, {}, "AppNotAllowed"),
        ({}, {"population": "savers"}, "PopulationNotDeclared"),
        ({}, {"population": None}, "PopulationNotDeclared"),
    ],
)
def test_an_owner_may_change_its_mind(policy: dict[str, Any], dataset: dict[str, Any], reason: str) -> None:
    assert reasons(policy, dataset) == [reason]


@pytest.mark.parametrize(
    ("policy", "dataset"),
    [
        ({}, {}),
        ({"maxEpsilonPerJob": "3", "images": ["hanse/*"], "recordApps": ["hanse.*"]}, {}),
        ({}, {"records": 10}),  # later edits of what was declared are for later jobs
    ],
)
def test_what_was_agreed_stands(policy: dict[str, Any], dataset: dict[str, Any]) -> None:
    assert reasons(policy, dataset) == []
