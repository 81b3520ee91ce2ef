"""`hanse` refuses what the operator refuses, for the same reason."""

from typing import Any

import pytest

from hanse.api.conditions import Reason
from hanse.api.job import FederatedJobSpec
from hanse.api.participant import ParticipantSpec
from hanse.cli.acceptance import acceptance
from tests.unit.cli.samples import IMAGE, job, participant

TABULAR = {"image": IMAGE, "clientApp": "hanse.runtime.apps.tabular:app"}


def reasons(manifest: dict[str, Any], *owners: dict[str, Any]) -> list[Reason]:
    known = {
        (o["metadata"]["namespace"], o["metadata"]["name"]): ParticipantSpec.model_validate(o["spec"]) for o in owners
    }
    spec = FederatedJobSpec.model_validate(manifest["spec"])
    return [f.reason for f in acceptance("consortium", spec, known)]


def twice(manifest: dict[str, Any]) -> dict[str, Any]:
    manifest["spec"]["participants"][1]["participantRef"] = manifest["spec"]["participants"][0]["participantRef"]
    return manifest


def without_schema(letter: str) -> dict[str, Any]:
    owner = participant(letter)
    del owner["spec"]["datasets"][0]["schema"]
    return owner


A, B = participant("a"), participant("b")


@pytest.mark.parametrize(
    ("manifest", "owners", "expected"),
    [
        (job(), (A, B), []),
        (job(), (A,), [Reason.PARTICIPANT_NOT_FOUND]),
        (job(), (A, participant("b", policy={})), [Reason.NAMESPACE_NOT_ALLOWED]),
        (job(), (A, participant("b", policy={"namespaces": ["elsewhere"]})), [Reason.NAMESPACE_NOT_ALLOWED]),
        (twice(job()), (A, B), [Reason.DUPLICATE_PARTICIPANT]),
        (job(app={"image": IMAGE, "clientApp": "hanse.runtime.apps.unknown:app"}), (A, B), [Reason.INVALID_SPEC]),
        (job(app=TABULAR), (A, B), []),
        (job(app=TABULAR), (A, without_schema("b")), [Reason.DATASET_INVALID]),
        (job(), (A, without_schema("b")), []),
    ],
)
def test_reasons(manifest: dict[str, Any], owners: tuple[dict[str, Any], ...], expected: list[Reason]) -> None:
    assert reasons(manifest, *owners) == expected


def test_a_dataset_that_is_not_declared() -> None:
    manifest = job()
    manifest["spec"]["participants"][0]["dataset"] = "other"
    assert reasons(manifest, A, B) == [Reason.DATASET_NOT_DECLARED]
