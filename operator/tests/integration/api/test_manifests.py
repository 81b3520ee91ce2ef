"""Each manifest of cases/ against a real API server: accepted, or refused with a message that names the field."""

from pathlib import Path

import httpx
import pytest

from hanse.dev.cases import Case, Manifest, load_cases
from hanse.dev.crds import KINDS

CASES = load_cases(Path(__file__).parent / "cases")
PLURALS = {kind.kind: kind.plural for kind in KINDS}
VALID = [case for case in CASES if case.field is None]
INVALID = [case for case in CASES if case.field is not None]


def dry_run(http: httpx.Client, manifest: Manifest) -> httpx.Response:
    """Create without storing, unknown fields refused (as kubectl asks for)."""
    path = f"/apis/hanse.dev/v1alpha1/namespaces/default/{PLURALS[manifest['kind']]}"
    return http.post(path, params={"dryRun": "All", "fieldValidation": "Strict"}, json=manifest)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", VALID, ids=lambda case: case.id)
def test_valid(http: httpx.Client, case: Case) -> None:
    response = dry_run(http, case.manifest)
    assert response.status_code == 201, response.text


@pytest.mark.parametrize("case", INVALID, ids=lambda case: case.id)
def test_invalid(http: httpx.Client, case: Case) -> None:
    response = dry_run(http, case.manifest)
    assert response.status_code in (400, 422), response.text
    message = response.json()["message"]
    assert str(case.field) in message
    assert case.says.lower() in message.lower()
