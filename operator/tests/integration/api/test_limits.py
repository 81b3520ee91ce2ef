"""Bounds at their edge: 1,024 participants fit (the CEL cost too), one more does not, and no string is unbounded."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from hanse.dev.cases import load_cases, merge

JOBS = "/apis/hanse.dev/v1alpha1/namespaces/default/federatedjobs"
CASES = load_cases(Path(__file__).parent / "cases")
BASE = CASES[0].manifest
OWNER = next(case for case in CASES if case.manifest["kind"] == "Participant").manifest
HUGE = "a" * 100_000


def participants(number: int) -> list[dict[str, Any]]:
    """With names and namespaces of the greatest length."""
    return [
        {
            "name": f"p{index:039d}",
            "participantRef": {"namespace": f"n{index:062d}", "name": f"p{index:039d}"},
            "dataset": f"d{index:039d}",
        }
        for index in range(number)
    ]


def create(http: httpx.Client, change: dict[str, Any], *, dry_run: bool = True) -> httpx.Response:
    params = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
    return http.post(JOBS, params=params, json=merge(BASE, change))


def test_1024_participants_fit_also_when_edited_and_frozen(http: httpx.Client) -> None:
    change = {"metadata": {"name": "many"}, "spec": {"participants": participants(1024), "quorum": 1024}}
    response = create(http, change, dry_run=False)
    assert response.status_code == 201, response.text[-2000:]
    patch = {"Content-Type": "application/merge-patch+json"}
    edit = http.patch(f"{JOBS}/many", json={"spec": {"rounds": 3}}, headers=patch)
    assert edit.status_code == 200, edit.text[-2000:]
    status = {"startTime": "2026-11-22T10:00:00Z", "participants": [{"name": p["name"]} for p in participants(1024)]}
    started = http.patch(f"{JOBS}/many/status", json={"status": status}, headers=patch)
    assert started.status_code == 200, started.text[-2000:]
    refused = http.patch(f"{JOBS}/many", json={"spec": {"participants": participants(1023)}}, headers=patch)
    assert refused.status_code == 422
    assert "spec.participants cannot be changed" in refused.text


PRIVATE = {"unit": "Silo", "epsilon": "3", "delta": "1e-5", "clip": "1"}


def test_the_longest_schedule_fits_beside_1024_participants(http: httpx.Client) -> None:
    schedule = {"kind": "List", "multipliers": ["0.123456789012"] * 1000}
    privacy = {"differentialPrivacy": {**PRIVATE, "schedule": schedule, "maxAttempts": 2}}
    spec = {"participants": participants(1024), "rounds": 1000, "privacy": privacy}
    response = create(http, {"metadata": {"name": "long"}, "spec": spec}, dry_run=False)
    assert response.status_code == 201, response.text[-2000:]
    patch = {"Content-Type": "application/merge-patch+json"}
    edit = http.patch(f"{JOBS}/long", json={"spec": {"quorum": 3}}, headers=patch)
    assert edit.status_code == 200, edit.text[-2000:]
    schedule["multipliers"] = ["0.1"] * 1001
    assert create(http, {"spec": {**spec, "privacy": privacy}}).status_code == 422


def test_an_encrypted_job_of_1024_participants_fits_into_status_and_participation(http: httpx.Client) -> None:
    """Each owner is told all identities; the plan is compared whole with every edit of its Participation."""
    members = participants(1024)
    roster = [{"name": m["name"], "identity": "x" * 113, "scale": "0.123456789012", "mass": "1"} for m in members]
    plan = {"scheme": "BFV", "keyMaker": members[1023]["name"], "quorum": 1024, "rounds": 20, "roster": roster}
    plan["terms"] = "sha256:" + "0" * 64
    privacy = {"encryption": {"keyMaker": members[1023]["name"]}}
    change = {"metadata": {"name": "wide"}, "spec": {"participants": members, "privacy": privacy}}
    response = create(http, change, dry_run=False)
    assert response.status_code == 201, response.text[-2000:]
    patch = {"Content-Type": "application/merge-patch+json"}
    shown = {"encryption": "BFV", "keyHolders": [m["name"] for m in members], "encryptionPlan": plan}
    status = {"startTime": "2026-11-22T10:00:00Z", "privacy": shown}
    started = http.patch(f"{JOBS}/wide/status", json={"status": status}, headers=patch)
    assert started.status_code == 200, started.text[-2000:]
    url = "/apis/hanse.dev/v1alpha1/namespaces/default/participations"
    base = next(case for case in CASES if case.manifest["kind"] == "Participation").manifest
    asked = http.post(url, json=merge(base, {"metadata": {"name": "wide"}, "spec": {"plan": {"encryption": plan}}}))
    assert asked.status_code == 201, asked.text[-2000:]
    edit = http.patch(f"{url}/wide", json={"spec": {"suspend": True}}, headers=patch)
    assert edit.status_code == 200, edit.text[-2000:]


def test_the_greatest_number_of_ranges_fits(http: httpx.Client) -> None:
    columns = [f"{index:0128d}" for index in range(4096)]
    ranges = {column: {"low": "-123456789012.123456789012", "high": "123456789012.123456789012"} for column in columns}
    schema = {"label": "y", "features": columns, "ranges": ranges}
    change = {"datasets": [{**OWNER["spec"]["datasets"][0], "schema": schema}]}
    url = "/apis/hanse.dev/v1alpha1/namespaces/default/participants"
    response = http.post(url, params={"dryRun": "All"}, json=merge(OWNER, {"spec": change}))
    assert response.status_code == 201, response.text[-2000:]


def test_1025_participants_are_refused(http: httpx.Client) -> None:
    response = create(http, {"spec": {"participants": participants(1025)}})
    assert response.status_code == 422
    assert "spec.participants: Too many: 1025: must have at most 1024 items" in response.json()["message"]


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("spec.app.image", {"app": {"image": HUGE}}),
        ("spec.app.clientApp", {"app": {"clientApp": f"{HUGE}:app"}}),
        ("spec.app.config.key", {"app": {"config": {"key": HUGE}}}),
        ("spec.app.config", {"app": {"config": {HUGE: "value"}}}),
        ("spec.app.config", {"app": {"config": {f"key-{n}": "value" for n in range(65)}}}),
        ("spec.stopWhen[0].metric", {"stopWhen": [{"metric": HUGE, "operator": ">=", "value": "1"}]}),
        ("spec.stopWhen[0].value", {"stopWhen": [{"metric": "auc", "operator": ">=", "value": "1" * 33}]}),
        ("spec.output.claimName", {"output": {"claimName": HUGE}}),
        ("spec.output.storage.size", {"output": {"storage": {"size": "1" * 20 + "Gi"}}}),
        ("spec.quorum", {"quorum": 1025}),
        ("spec.backoffLimit", {"backoffLimit": 10**12}),
        (
            "spec.privacy.differentialPrivacy.epsilon",
            {"privacy": {"differentialPrivacy": {**PRIVATE, "epsilon": HUGE}}},
        ),
        ("spec.privacy.differentialPrivacy.clip", {"privacy": {"differentialPrivacy": {**PRIVATE, "clip": "9" * 33}}}),
        ("spec.app.personalLayers[0]", {"app": {"personalLayers": [HUGE]}}),
        ("spec.app.initialModel.seed", {"app": {"initialModel": {"seed": 2**31}}}),
    ],
)
def test_huge_values_are_refused(http: httpx.Client, field: str, change: dict[str, Any]) -> None:
    response = create(http, {"spec": change})
    assert response.status_code == 422, response.text[:2000]
    assert field in response.json()["message"]
