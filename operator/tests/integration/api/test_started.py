"""Once status.startTime is set only `suspend` and `ttlSecondsAfterFinished` may be edited; defaults are stored."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from hanse.api.job import MUTABLE_SPEC_FIELDS, FederatedJobSpec
from hanse.dev.cases import load_cases, merge

CASES = load_cases(Path(__file__).parent / "cases")
JOB = next(case for case in CASES if case.manifest["kind"] == "FederatedJob").manifest
PARTICIPATION = next(case for case in CASES if case.manifest["kind"] == "Participation").manifest
PATCH = {"Content-Type": "application/merge-patch+json"}
GROUP = "/apis/hanse.dev/v1alpha1/namespaces"
#: A value that is valid and differs from what the job has: one for each field of spec.
EDITS: dict[str, Any] = {
    "app": {"config": {"batch-size": "1"}},
    "participants": JOB["spec"]["participants"][:2],
    "quorum": 1,
    "rounds": 21,
    "startTimeoutSeconds": 301,
    "roundTimeoutSeconds": 601,
    "onDropout": "Wait",
    "stopWhen": [{"metric": "auc", "operator": ">=", "value": "0.7"}],
    "aggregation": {"weights": "Equal"},
    "privacy": {"differentialPrivacy": {"unit": "Silo", "epsilon": "3", "delta": "1e-5", "clip": "1"}},
    "compression": {"quantizationBits": 15},
    "checkpoint": {"everyRounds": 2},
    "output": {"claimName": "models"},
    "suspend": True,
    "activeDeadlineSeconds": 60,
    "backoffLimit": 4,
    "ttlSecondsAfterFinished": 60,
}


def start(http: httpx.Client, namespace: str, manifest: dict[str, Any] = JOB) -> str:
    """Create a job and set status.startTime as the operator does; its path."""
    assert http.post(f"{GROUP}/{namespace}/federatedjobs", json=manifest).status_code == 201
    path = f"{GROUP}/{namespace}/federatedjobs/credit"
    status = {"status": {"startTime": "2026-11-22T10:00:00Z"}}
    assert http.patch(f"{path}/status", json=status, headers=PATCH).status_code == 200
    return path


def test_every_field_of_spec_is_tried() -> None:
    assert set(EDITS) == {info.alias for info in FederatedJobSpec.model_fields.values()}


@pytest.mark.parametrize("field", EDITS)
def test_edit_before_the_start(http: httpx.Client, namespace: str, field: str) -> None:
    assert http.post(f"{GROUP}/{namespace}/federatedjobs", json=JOB).status_code == 201
    edit = http.patch(f"{GROUP}/{namespace}/federatedjobs/credit", json={"spec": {field: EDITS[field]}}, headers=PATCH)
    assert edit.status_code == 200, edit.text


@pytest.mark.parametrize("field", EDITS)
def test_edit_after_the_start(http: httpx.Client, namespace: str, field: str) -> None:
    edit = http.patch(start(http, namespace), json={"spec": {field: EDITS[field]}}, headers=PATCH)
    if field in MUTABLE_SPEC_FIELDS:
        assert edit.status_code == 200, edit.text
        return
    assert edit.status_code == 422
    assert f"spec.{field} cannot be changed once the job has started" in edit.json()["message"]


def test_an_encrypted_job_that_runs_is_not_suspended(http: httpx.Client, namespace: str) -> None:
    """Its key would be lost with its gates; before the start there is none."""
    path = f"{GROUP}/{namespace}/federatedjobs/credit"
    manifest = merge(JOB, {"spec": {"suspend": True, "privacy": {"encryption": {}}}})
    start(http, namespace, manifest)
    assert http.patch(path, json={"spec": {"suspend": False}}, headers=PATCH).status_code == 200
    edit = http.patch(path, json={"spec": {"suspend": True}}, headers=PATCH)
    assert edit.status_code == 422
    assert "spec.suspend cannot be set once an encrypted job has started" in edit.json()["message"]


def test_a_job_with_encryption_switched_off_is_suspended(http: httpx.Client, namespace: str) -> None:
    path = start(http, namespace, merge(JOB, {"spec": {"privacy": {"encryption": {"scheme": "None"}}}}))
    assert http.patch(path, json={"spec": {"suspend": True}}, headers=PATCH).status_code == 200


@pytest.mark.parametrize("field", ["quorum", "stopWhen", "activeDeadlineSeconds"])
def test_an_optional_field_cannot_be_removed_after_the_start(http: httpx.Client, namespace: str, field: str) -> None:
    path = start(http, namespace, merge(JOB, {"spec": {field: EDITS[field]}}))
    edit = http.patch(path, json={"spec": {field: None}}, headers=PATCH)
    assert edit.status_code == 422
    assert f"spec.{field} cannot be changed" in edit.json()["message"]


def test_applying_the_same_manifest_again_changes_nothing(http: httpx.Client, namespace: str) -> None:
    path = start(http, namespace)
    before = http.get(path).json()["metadata"]
    assert http.patch(path, json={"spec": JOB["spec"]}, headers=PATCH).status_code == 200
    after = http.get(path).json()["metadata"]
    assert (after["generation"], after["resourceVersion"]) == (before["generation"], before["resourceVersion"])


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("jobRef", {"jobRef": {"name": "other"}}),
        ("participantRef", {"participantRef": {"name": "other"}}),
        ("plan", {"plan": {"image": "evil"}}),
        ("planHash", {"planHash": "sha256:01"}),
    ],
)
def test_a_participation_stays_what_was_asked(
    http: httpx.Client, namespace: str, field: str, change: dict[str, Any]
) -> None:
    assert http.post(f"{GROUP}/{namespace}/participations", json=PARTICIPATION).status_code == 201
    path = f"{GROUP}/{namespace}/participations/{PARTICIPATION['metadata']['name']}"
    assert http.patch(path, json={"spec": {"suspend": True}}, headers=PATCH).status_code == 200
    edit = http.patch(path, json={"spec": change}, headers=PATCH)
    assert edit.status_code == 422
    assert f"spec.{field} cannot be changed" in edit.json()["message"]


def test_defaults_are_written_into_the_object(http: httpx.Client, namespace: str) -> None:
    stored = http.post(f"{GROUP}/{namespace}/federatedjobs", json=JOB).json()["spec"]
    parsed = FederatedJobSpec.model_validate(JOB["spec"])
    assert FederatedJobSpec.model_validate(stored) == parsed
    assert stored["aggregation"] == {"strategy": "FedAvg", "weights": "RecordCount"}
    assert (stored["onDropout"], stored["backoffLimit"], stored["suspend"]) == ("SkipRound", 3, False)
    assert "quorum" not in stored
    assert stored["app"]["clientApp"] == "hanse.runtime.apps.tabular:app"


def test_status_cannot_be_written_with_the_spec(http: httpx.Client, namespace: str) -> None:
    manifest = merge(JOB, {"status": {"startTime": "2026-11-22T10:00:00Z"}})
    assert "status" not in http.post(f"{GROUP}/{namespace}/federatedjobs", json=manifest).json()
