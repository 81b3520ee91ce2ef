"""A PrivacyBudget's status is append-only on a real API server, whoever writes it; only its epsilon can be edited."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest

from hanse.api.budget import MAX_ACCOUNTS, RDP_ORDERS, decimal_up
from hanse.api.privacy import MAX_PRIVATE_ROUNDS
from hanse.dev.cases import load_cases, merge
from tests.integration.conftest import Kubectl

CASES = load_cases(Path(__file__).parent / "cases")
BUDGET = next(case for case in CASES if case.manifest["kind"] == "PrivacyBudget").manifest
PATCH = {"Content-Type": "application/merge-patch+json"}
AT = "2026-11-22T10:00:00Z"
UID = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
DIGEST = "sha256:" + "0" * 64
DIGEST_2 = "sha256:" + "1" * 64
SIGNATURE = "A" * 86 + "=="
PLAN = {
    "unit": "Silo",
    "mechanism": "Local",
    "adjacency": "Replace",
    "adversary": "ServerAndOne",
    "epsilon": "3",
    "delta": "1e-5",
    "clip": "1",
    "maxAttempts": 1,
    "noiseMultipliers": ["5.1", "5.1"],
}


def loss(value: float) -> dict[str, Any]:
    return {"rdp": [decimal_up(value * order) for order in RDP_ORDERS], "epsilon": decimal_up(value)}


def account() -> dict[str, Any]:
    return {
        "job": {"namespace": "consortium", "name": "credit", "uid": UID},
        "participation": "credit-bank-a-1f2e3d4c",
        "planHash": DIGEST,
        "plan": PLAN,
        "epoch": 2,
        "leaseUntil": AT,
        "releases": {"Train-1-1": {"digest": DIGEST, "at": AT}},
    }


STATUS: dict[str, Any] = {
    "folded": loss(0.1)["rdp"],
    "spent": loss(0.1),
    "reserved": loss(0.2),
    "left": "7.1",
    "entries": 3,
    "pages": 1,
    "chainHead": DIGEST,
    "accounts": {UID: account()},
    "datasets": {DIGEST: {"dataset": "loans", "at": AT}},
}
CLOSED = {"cause": "Signed", "at": AT, "signature": SIGNATURE}


class Ledger:
    """One PrivacyBudget on the server."""

    def __init__(self, http: httpx.Client, namespace: str) -> None:
        self._http = http
        budgets = f"/apis/hanse.dev/v1alpha1/namespaces/{namespace}/privacybudgets"
        assert http.post(budgets, json=BUDGET).status_code == 201
        self.path = f"{budgets}/borrowers"
        assert self.write(STATUS).status_code == 200

    def write(self, status: dict[str, Any] | None) -> httpx.Response:
        """Merge into status."""
        return self._http.patch(f"{self.path}/status", json={"status": status}, headers=PATCH)

    def replace(self, status: dict[str, Any]) -> httpx.Response:
        """Put another status in its place."""
        whole = self._http.get(self.path).json() | {"status": status}
        return self._http.put(f"{self.path}/status", json=whole)

    def edit(self, spec: dict[str, Any]) -> httpx.Response:
        """Merge into spec."""
        return self._http.patch(self.path, json={"spec": spec}, headers=PATCH)


@pytest.fixture
def ledger(http: httpx.Client, namespace: str) -> Ledger:
    return Ledger(http, namespace)


def lower_one_order() -> dict[str, Any]:
    rdp = list(STATUS["spent"]["rdp"])
    rdp[41] = "1e-3"
    return {"spent": {"rdp": rdp}}


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("one release more", {"accounts": {UID: {"releases": {"Train-2-1": {"digest": DIGEST_2, "at": AT}}}}}),
        ("a newer gate", {"accounts": {UID: {"epoch": 3}}}),
        ("a longer lease", {"accounts": {UID: {"leaseUntil": "2026-11-22T10:05:00Z"}}}),
        ("one account more", {"accounts": {OTHER: account()}}),
        ("a signed close", {"accounts": {UID: {"closed": CLOSED}}}),
        ("an end without a gate", {"accounts": {UID: {"closed": {"cause": "LeaseOver", "at": AT}}}}),
        ("new data", {"datasets": {DIGEST_2: {"dataset": "loans", "at": AT}}}),
        ("more spent", {"spent": loss(0.2), "folded": loss(0.2)["rdp"], "entries": 4, "pages": 2}),
        ("less reserved", {"reserved": loss(0.0), "left": "7.9"}),
    ],
)
def test_what_a_ledger_does(ledger: Ledger, what: str, change: dict[str, Any]) -> None:
    response = ledger.write(change)
    assert response.status_code == 200, f"{what}: {response.text}"


@pytest.mark.parametrize(
    ("says", "change"),
    [
        ("spent never lowers", {"spent": loss(0.09)}),
        ("spent never lowers", {"spent": None}),
        ("spent never lowers", lower_one_order()),
        ("folded never lowers", {"folded": loss(0.09)["rdp"]}),
        ("folded never lowers", {"folded": None}),
        ("entries never lowers", {"entries": 2}),
        ("entries never lowers", {"entries": None}),
        ("pages never lowers", {"pages": 0}),
        ("datasets only grow", {"datasets": {DIGEST: None}}),
        ("datasets only grow", {"datasets": None}),
        ("accounts leave only", {"accounts": {UID: None}}),
        ("accounts leave only", {"accounts": {UID: None}, "pages": 2}),
        ("accounts leave only", {"accounts": None}),
        ("epoch of an account never lowers", {"accounts": {UID: {"epoch": 1}}}),
        ("releases of an account only grow", {"accounts": {UID: {"releases": {"Train-1-1": None}}}}),
        ("releases of an account only grow", {"accounts": {UID: {"releases": None}}}),
        ("releases of an account only grow", {"accounts": {UID: {"releases": {"Train-1-1": {"digest": DIGEST_2}}}}}),
        ("planHash of an account", {"accounts": {UID: {"planHash": DIGEST_2}}}),
        ("plan of an account", {"accounts": {UID: {"plan": {"noiseMultipliers": ["5.1", "0.1"]}}}}),
        ("keys must match", {"accounts": {UID: {"releases": {"Initial-1-1": {"digest": DIGEST, "at": AT}}}}}),
        ("signature belongs to cause Signed", {"accounts": {UID: {"closed": {"cause": "Signed", "at": AT}}}}),
    ],
)
def test_what_no_ledger_does(ledger: Ledger, says: str, change: dict[str, Any]) -> None:
    response = ledger.write(change)
    assert response.status_code == 422, response.text
    assert says in response.json()["message"]


def test_the_whole_status_cannot_be_removed_or_replaced(ledger: Ledger) -> None:
    removed = ledger.write(None)
    assert removed.status_code == 422, removed.text
    assert "it is the ledger" in removed.json()["message"]
    emptied = ledger.replace({"observedGeneration": 1})
    assert emptied.status_code == 422
    for part in ("spent", "accounts", "datasets"):
        assert f"status.{part}" in emptied.json()["message"]


def test_a_closed_account_cannot_be_changed_and_leaves_with_its_page(ledger: Ledger) -> None:
    assert ledger.write({"accounts": {UID: {"closed": CLOSED}}}).status_code == 200
    late = {"accounts": {UID: {"releases": {"Train-2-1": {"digest": DIGEST, "at": AT}}}}}
    for change in (late, {"accounts": {UID: {"closed": None}}}, {"accounts": {UID: {"epoch": 3}}}):
        refused = ledger.write(change)
        assert refused.status_code == 422
        assert "a closed account cannot be changed" in refused.json()["message"]
    assert ledger.write({"accounts": {UID: None}}).status_code == 422
    folded = {"accounts": {UID: None}, "pages": 2, "spent": loss(0.15), "folded": loss(0.15)["rdp"]}
    assert ledger.write(folded).status_code == 200


def test_an_owner_may_raise_and_lower_the_total_and_nothing_else(ledger: Ledger) -> None:
    assert ledger.edit({"epsilon": "10"}).status_code == 200
    assert ledger.edit({"epsilon": "1"}).status_code == 200
    for change in ({"delta": "1e-6"}, {"unit": "Silo"}):
        refused = ledger.edit(change)
        assert refused.status_code == 422
        assert "what was spent was counted" in refused.json()["message"]


def test_a_full_ledger_fits(ledger: Ledger) -> None:
    """The greatest plan and many accounts: within the API server's limits, the rules' cost included."""
    plan = PLAN | {"noiseMultipliers": ["5.12345678"] * MAX_PRIVATE_ROUNDS}
    releases = {f"Train-{n}-1": {"digest": DIGEST, "at": AT} for n in range(1, MAX_PRIVATE_ROUNDS + 1)}
    big = account() | {"plan": plan, "releases": releases}
    two = {f"00000000-0000-4000-9000-{n:012d}": deepcopy(big) for n in range(3)}
    small = {f"00000000-0000-4000-a000-{n:012d}": account() for n in range(MAX_ACCOUNTS - 4)}
    filled = ledger.write({"accounts": two | small})
    assert filled.status_code == 200, filled.text[:2000]
    more = {"accounts": {UID: {"releases": {"Train-2-1": {"digest": DIGEST_2, "at": AT}}}}}
    assert ledger.write(more).status_code == 200
    over = ledger.write({"accounts": {f"00000000-0000-4000-b000-{n:012d}": account() for n in range(2)}})
    assert over.status_code == 422
    assert "at most 32" in over.json()["message"]


def test_columns(ledger: Ledger, kubectl: Kubectl, namespace: str) -> None:
    lines = [line.split() for line in kubectl("get", "pb", "-n", namespace).stdout.splitlines()]
    assert lines[0] == ["NAME", "TOTAL", "SPENT", "RESERVED", "LEFT", "AGE"]
    assert lines[1][:2] == ["borrowers", "8.0"]
    assert lines[1][4] == STATUS["left"]


def test_a_manifest_with_a_status_starts_with_none(http: httpx.Client, namespace: str) -> None:
    """A restored backup: the API server drops what it says was spent, so its copies elsewhere must say it."""
    budgets = f"/apis/hanse.dev/v1alpha1/namespaces/{namespace}/privacybudgets"
    made = http.post(budgets, json=merge(BUDGET, {"status": STATUS}))
    assert made.status_code == 201
    assert "status" not in made.json()
