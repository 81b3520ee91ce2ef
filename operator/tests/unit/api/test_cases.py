"""The models refuse what the API server refuses: the same manifests as in the integration tests, without a server."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from hanse.api.budget import PrivacyBudgetSpec
from hanse.api.job import FederatedJobSpec
from hanse.api.participant import ParticipantSpec
from hanse.api.participation import ParticipationSpec
from hanse.dev.cases import Case, load_cases

CASES = load_cases(Path(__file__).parents[2] / "integration" / "api" / "cases")
SPECS: dict[str, type[BaseModel]] = {
    "FederatedJob": FederatedJobSpec,
    "Participant": ParticipantSpec,
    "Participation": ParticipationSpec,
    "PrivacyBudget": PrivacyBudgetSpec,
}


@pytest.mark.parametrize("case", [c for c in CASES if c.field is None], ids=lambda case: case.id)
def test_accepted(case: Case) -> None:
    SPECS[case.manifest["kind"]].model_validate(case.manifest["spec"])


@pytest.mark.parametrize("case", [c for c in CASES if c.field and not c.server_only], ids=lambda case: case.id)
def test_refused(case: Case) -> None:
    with pytest.raises(ValidationError) as refusal:
        SPECS[case.manifest["kind"]].model_validate(case.manifest.get("spec"))
    if case.field == "spec" or case.field is None:
        return
    # The last word of the field's path, in the location or (rules that span fields) in the message.
    word = case.field.rsplit(".", 1)[-1].split("[")[0]
    assert word in str(refusal.value)
