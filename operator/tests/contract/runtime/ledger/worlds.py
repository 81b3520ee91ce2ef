"""A population's budget behind each door, with what the operator (or `hanse run`) does to it."""

import base64
import json
import ssl
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import httpx

from hanse.api import names
from hanse.api.budget import Account, Closed, PrivacyBudgetSpec, PrivacyBudgetStatus
from hanse.api.certificate import Certificate, SignedCertificate
from hanse.api.participation import JobRef
from hanse.api.privacy import PrivacyPlan
from hanse.api.rbac import gate_rules
from hanse.runtime.ledger import Claim, Ledger
from hanse.runtime.ledger.book import Book
from hanse.runtime.ledger.file import FileLedger
from hanse.runtime.ledger.kube import Access, KubeLedger

JOB_UID = "11111111-2222-3333-4444-555555555555"
ACCOUNT = names.account_id(JOB_UID, "bank-a")
HASH = "sha256:" + "b" * 64
DATA = "sha256:" + "d" * 64
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SPEC = PrivacyBudgetSpec(unit="Silo", epsilon="8.0", delta="1e-5")
PLAN = PrivacyPlan(
    unit="Silo", adjacency="Replace", epsilon="3", delta="1e-5", clip="1", noise_multipliers=["20"] * 5, max_attempts=2
)
CLAIM = Claim(account=ACCOUNT, plan=PLAN, plan_hash=HASH, dataset="loans", dataset_digest=DATA)
_numbers = count(1)


class Clock:
    """Time that moves when told."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time


def account(plan: PrivacyPlan = PLAN, plan_hash: str = HASH, lease_seconds: float = 600) -> Account:
    """What a reservation puts into the budget."""
    return Account(
        job=JobRef(namespace="consortium", name="credit", uid=JOB_UID),
        participation="credit-bank-a-12345678",
        plan_hash=plan_hash,
        plan=plan,
        lease_until=START + timedelta(seconds=lease_seconds),
    )


def certificate(epoch: int) -> SignedCertificate:
    """What a gate has signed; that it is true is not the ledger's to check."""
    made = Certificate(
        job=JobRef(namespace="consortium", name="credit", uid=JOB_UID),
        participant="bank-a",
        participation="credit-bank-a-12345678",
        account=ACCOUNT,
        epoch=epoch,
        final=True,
        dataset="loans",
        plan_hash=HASH,
        plan=PLAN,
        mechanism="Local",
        epsilons=[],
        releases=[],
        rounds=0,
        attempts=0,
        issued_at=START,
    )
    return SignedCertificate(certificate=made, public_key="key", signature="A" * 86 + "==")


class World(Protocol):
    """One budget, and others beside it."""

    clock: Clock

    def ledger(self, population: str = "borrowers") -> Ledger:
        """A new gate's door."""
        ...

    def reserve(self, made: Account, population: str = "borrowers") -> None: ...
    def status(self, population: str = "borrowers") -> PrivacyBudgetStatus: ...
    def certificates(self) -> list[SignedCertificate]: ...
    def fold(self) -> None:
        """End the account as an operator does after the lease."""
        ...


class FileWorld:
    """A directory."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.directory = directory

    def ledger(self, population: str = "borrowers") -> Ledger:
        return FileLedger(self.directory, population, now=self.clock.now)

    def _book(self, population: str) -> Book:
        return Book(self.directory, population)

    def reserve(self, made: Account, population: str = "borrowers") -> None:
        book = self._book(population)
        with book.locked():
            book.write("budget", self.clock.now(), spec=SPEC.to_wire())
            book.write("reserve", self.clock.now(), account=ACCOUNT, value=made.to_wire())

    def status(self, population: str = "borrowers") -> PrivacyBudgetStatus:
        book = self._book(population)
        with book.locked():
            return book.status

    def certificates(self) -> list[SignedCertificate]:
        files = (self.directory / "certificates").glob("*.json")
        return [SignedCertificate.model_validate_json(file.read_text()) for file in files]

    def fold(self) -> None:
        book = self._book("borrowers")
        with book.locked():
            closed = Closed(cause="LeaseOver", at=self.clock.now()).to_wire()
            book.write("close", self.clock.now(), account=ACCOUNT, closed=closed)
            book.write("fold", self.clock.now(), account=ACCOUNT, folded=["0"] * 65)


class KubeWorld:
    """A namespace of a real kube-apiserver."""

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        self.clock = Clock()
        self.http = admin(kubeconfig)
        self.namespace = f"ledger-{next(_numbers)}"
        self.http.post("/api/v1/namespaces", json={"metadata": {"name": self.namespace}}).raise_for_status()
        self.access = Access(str(self.http.base_url), self.namespace, directory / "token", directory / "ca.crt")
        self.access.ca.write_text(authority(kubeconfig))
        self.access.token.write_text(self._gate_token())
        self.base = f"/apis/{names.API_VERSION}/namespaces/{self.namespace}/privacybudgets"

    def ledger(self, population: str = "borrowers") -> Ledger:
        return KubeLedger(self.access, population, now=self.clock.now)

    def _gate_token(self) -> str:
        """A token with what a gate may do, and no more."""
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}"
        made = {"metadata": {"name": "hanse-gate"}}
        accounts = f"/api/v1/namespaces/{self.namespace}/serviceaccounts"
        subject = {"kind": "ServiceAccount", "name": "hanse-gate", "namespace": self.namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "hanse-gate"}
        self.http.post(accounts, json=made).raise_for_status()
        self.http.post(f"{rbac}/roles", json={**made, "rules": gate_rules()}).raise_for_status()
        bound = {**made, "roleRef": role, "subjects": [subject]}
        self.http.post(f"{rbac}/rolebindings", json=bound).raise_for_status()
        answer = self.http.post(f"{accounts}/hanse-gate/token", json={"spec": {"expirationSeconds": 3600}})
        return str(answer.raise_for_status().json()["status"]["token"])

    def reserve(self, made: Account, population: str = "borrowers") -> None:
        body = {
            "apiVersion": names.API_VERSION,
            "kind": "PrivacyBudget",
            "metadata": {"name": population},
            "spec": SPEC.to_wire(),
        }
        answer = self.http.post(self.base, json=body)
        assert answer.status_code in (201, 409), answer.text
        self.patch({"accounts": {ACCOUNT: made.to_wire()}}, population)

    def patch(self, status: dict[str, Any], population: str = "borrowers") -> httpx.Response:
        answer = self.http.patch(
            f"{self.base}/{population}/status",
            json={"status": status},
            headers={"content-type": "application/merge-patch+json"},
        )
        assert answer.is_success, answer.text
        return answer

    def status(self, population: str = "borrowers") -> PrivacyBudgetStatus:
        raw = self.http.get(f"{self.base}/{population}").json()
        return PrivacyBudgetStatus.model_validate(raw.get("status") or {})

    def certificates(self) -> list[SignedCertificate]:
        """As their owner finds them."""
        selector = {"labelSelector": "hanse.dev/role=certificate,hanse.dev/job=credit,hanse.dev/participant=bank-a"}
        found = self.http.get(f"/api/v1/namespaces/{self.namespace}/configmaps", params=selector).json()["items"]
        assert all(each["immutable"] and "ownerReferences" not in each["metadata"] for each in found)
        return [SignedCertificate.model_validate_json(each["data"][names.CERTIFICATE_KEY]) for each in found]

    def fold(self) -> None:
        closed = Closed(cause="LeaseOver", at=self.clock.now()).to_wire()
        self.patch({"accounts": {ACCOUNT: {"closed": closed}}})
        self.patch({"accounts": {ACCOUNT: None}, "pages": 1})


def authority(kubeconfig: Path) -> str:
    """The API server's CA certificate, PEM."""
    cluster = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]
    return base64.b64decode(cluster["certificate-authority-data"]).decode()


def admin(kubeconfig: Path) -> httpx.Client:
    """Plain HTTP as an administrator."""
    config = json.loads(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    tls = ssl.create_default_context(cadata=authority(kubeconfig))
    pem = kubeconfig.parent / "ledger-admin.pem"
    pem.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
    tls.load_cert_chain(pem)
    return httpx.Client(base_url=cluster["server"], verify=tls, timeout=30, trust_env=False)
