"""The manifests of docs/privacy.md are valid, and the owner's terms accept what the page asks for."""

import re
from pathlib import Path
from typing import Any, get_args

import yaml

from hanse.api.budget import PrivacyBudgetSpec
from hanse.api.job import FederatedJobSpec
from hanse.api.participant import ParticipantSpec
from hanse.api.privacy import Adversary
from hanse.api.terms import Ask, Budget, objections
from hanse.dev.cases import load_cases, merge

ROOT = Path(__file__).resolve().parents[4]
CASES = load_cases(ROOT / "operator/tests/integration/api/cases")
BLOCKS = [
    list(yaml.safe_load_all(block))
    for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/privacy.md").read_text(), re.DOTALL)
]
APP = {"image": "hanse/trainer-cpu@sha256:" + "0" * 64, "clientApp": "hanse.runtime.apps.tabular:app"}


def job(change: dict[str, Any]) -> FederatedJobSpec:
    base = next(case.manifest for case in CASES if case.manifest["kind"] == "FederatedJob")["spec"]
    return FederatedJobSpec.model_validate(merge({**base, "app": APP}, change["spec"]))


def test_what_the_page_asks_for_is_accepted_by_the_owner_of_the_page() -> None:
    (budget, owner), (asked,), (smaller,) = BLOCKS
    found = ParticipantSpec.model_validate(owner["spec"])
    known = Budget(PrivacyBudgetSpec.model_validate(budget["spec"]))
    ask = Ask.of_spec(job(asked), dict.fromkeys(get_args(Adversary), 3.0))
    assert list(objections(ask, "bank-a/bank-a", found, found.datasets[0], known)) == []
    assert found.datasets[0].population == budget["metadata"]["name"]
    assert job(smaller).app.personal_layers == ["head.*"]
