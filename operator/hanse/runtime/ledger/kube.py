"""The ledger of a gate in a pod: the owner's PrivacyBudget, written with the gate's own short-lived token.

The one module of the runtime that talks to the API server. Every write is conditional on the resourceVersion that the
decision was made from: two gates, or a gate and the operator, cannot both believe that they were first.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
from pydantic import ValidationError

from hanse.api import names
from hanse.api.budget import Account, DatasetSeen, PrivacyBudgetStatus, Release
from hanse.api.certificate import SignedCertificate
from hanse.runtime.ledger import Claim, LedgerDamaged, LedgerUnavailable, NotReserved, Sign, Slot
from hanse.runtime.ledger.lease import Opened
from hanse.runtime.ledger.rules import check_account, check_charge, check_dataset

Json = dict[str, Any]
Operation = dict[str, Any]

_TIMEOUT: Final = httpx.Timeout(5.0, connect=3.0)
#: Others write to the same budget: the operator's renewals, the gates of other jobs.
_CONFLICTS_MAX: Final = 32
_PATCH: Final = {"content-type": "application/json-patch+json"}


@dataclass(frozen=True)
class Access:
    """How a gate reaches its API server: URL, namespace, and files that the kubelet renews."""

    url: str
    namespace: str
    token: Path
    ca: Path

    def client(self) -> httpx.Client:
        """A client that trusts this CA alone and takes no proxy from the environment."""
        context = ssl.create_default_context(cafile=str(self.ca))
        # What Python 3.13 asks beyond client-go: API servers without an authority key identifier are common.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return httpx.Client(base_url=self.url, verify=context, timeout=_TIMEOUT, trust_env=False)


@dataclass(frozen=True)
class Read:
    """A PrivacyBudget at one version."""

    version: str
    status: PrivacyBudgetStatus

    @property
    def accounts(self) -> Mapping[str, Account]:
        return self.status.accounts


def _utc_now() -> datetime:
    return datetime.now(UTC)


class KubeLedger:
    """One PrivacyBudget. Not for several threads at once."""

    def __init__(
        self,
        access: Access,
        budget: str,
        *,
        client: httpx.Client | None = None,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._access = access
        self._budget = budget
        self._client = client or access.client()
        self._now = now
        self._base = f"/apis/{names.GROUP}/{names.VERSION}/namespaces/{access.namespace}/privacybudgets"

    def open(self, claim: Claim) -> "KubeLease":
        """See `Ledger.open`."""
        self._check_dataset(claim)

        def take(read: Read, account: Account) -> list[Operation]:
            made = [_set(f"{_at(claim)}/epoch", account.epoch + 1)]
            if claim.dataset_digest and claim.dataset_digest not in read.status.datasets:
                made += self._note_dataset(read, claim)
            return made

        account = self.write(claim, take)
        # Two populations may have opened with the same data at once: both see each other now.
        self._check_dataset(claim)
        return KubeLease(self, claim, account)

    def _note_dataset(self, read: Read, claim: Claim) -> list[Operation]:
        seen = DatasetSeen(dataset=claim.dataset, at=self._now()).to_wire()
        if not read.status.datasets:
            return [_set("/status/datasets", {claim.dataset_digest: seen})]
        return [_set(f"/status/datasets/{claim.dataset_digest}", seen)]

    def _check_dataset(self, claim: Claim) -> None:
        if not claim.dataset_digest:
            return
        for raw in self._call("GET", self._base).get("items", []):
            name = str(raw["metadata"]["name"])
            seen = ((raw.get("status") or {}).get("datasets") or {}).get(claim.dataset_digest)
            if seen is not None:
                # The operator notes what belongs to budgets that were deleted.
                check_dataset(claim, self._budget, seen.get("population") or name)

    def write(self, claim: Claim, change: Callable[[Read, Account], list[Operation]]) -> Account:
        """Decide on what is there and write that, until nobody has written in between; the account afterwards."""
        for _ in range(_CONFLICTS_MAX):
            read = self._read(self._call("GET", f"{self._base}/{self._budget}"))
            account = check_account(read.accounts.get(claim.account), claim, self._now())
            operations = change(read, account)
            if not operations:
                return account
            fence = _set("/metadata/resourceVersion", read.version)
            answer = self._patch([fence, *operations])
            if answer is not None:
                return self._read(answer).accounts[claim.account]
        raise LedgerUnavailable(f"PrivacyBudget {self._budget}: others wrote {_CONFLICTS_MAX} times in between")

    def _read(self, raw: Json) -> Read:
        try:
            status = PrivacyBudgetStatus.model_validate(raw.get("status") or {})
        except ValidationError as error:
            raise LedgerDamaged(f"PrivacyBudget {self._budget}: {error.error_count()} fields are wrong") from error
        return Read(raw["metadata"]["resourceVersion"], status)

    def _patch(self, operations: list[Operation]) -> Json | None:
        """The object as written, None when somebody else was first."""
        try:
            path = f"{self._base}/{self._budget}/status"
            return self._call("PATCH", path, json=operations, headers=_PATCH)
        except _Conflict:
            return None

    def _call(self, verb: str, path: str, **more: Any) -> Json:
        try:
            token = self._access.token.read_text().strip()
            headers = {"authorization": f"Bearer {token}", "user-agent": "hanse-gate", **more.pop("headers", {})}
            answer = self._client.request(verb, path, headers=headers, **more)
        except (httpx.HTTPError, OSError) as error:
            raise LedgerUnavailable(f"API server: {type(error).__name__}") from error
        if answer.status_code == httpx.codes.CONFLICT:
            raise _Conflict
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise NotReserved(f"no PrivacyBudget {self._budget} in namespace {self._access.namespace}")
        if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            raise LedgerDamaged(f"PrivacyBudget {self._budget} does not take the entry: {_message(answer)}")
        if answer.is_error:
            raise LedgerUnavailable(f"API server: {answer.status_code} {_message(answer)}")
        try:
            found: Json = answer.json()
        except ValueError as error:
            raise LedgerUnavailable("API server: the answer is no JSON") from error
        return found

    def keep(self, signed: SignedCertificate) -> None:
        """Make the certificate's ConfigMap, which nobody can change; one that is there is as good."""
        certificate = signed.certificate
        labels = {
            names.LABEL_MANAGED_BY: names.MANAGED_BY,
            names.LABEL_ROLE: names.ROLE_CERTIFICATE,
            names.LABEL_JOB: certificate.job.name,
            names.LABEL_JOB_NAMESPACE: certificate.job.namespace,
            names.LABEL_PARTICIPANT: certificate.participant,
        }
        made = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": signed.name, "namespace": self._access.namespace, "labels": labels},
            "immutable": True,
            "data": {names.CERTIFICATE_KEY: signed.to_text()},
        }
        try:
            self._call("POST", f"/api/v1/namespaces/{self._access.namespace}/configmaps", json=made)
        except _Conflict:
            return

    def now(self) -> datetime:
        """The time, as leases see it."""
        return self._now()

    def look(self, claim: Claim) -> Account | None:
        """The account as it is, closed or not."""
        return self._read(self._call("GET", f"{self._base}/{self._budget}")).accounts.get(claim.account)


class KubeLease(Opened):
    """See `Lease`."""

    def __init__(self, ledger: KubeLedger, claim: Claim, account: Account) -> None:
        super().__init__(claim, account)
        self._ledger = ledger

    def charge(self, slot: Slot, digest: str) -> None:
        """See `Lease.charge`."""

        def pay(read: Read, account: Account) -> list[Operation]:
            if check_charge(account, self._epoch, slot, digest):
                return []
            entry = Release(digest=digest, at=self._ledger.now()).to_wire()
            at = f"{_at(self._claim)}/releases"
            paid = _set(f"{at}/{slot.key}", entry) if account.releases else _set(at, {slot.key: entry})
            return [paid, _set("/status/entries", read.status.entries + 1)]

        self._account = self._ledger.write(self._claim, pay)

    def certify(self, signed: SignedCertificate) -> None:
        """See `Lease.certify`."""
        self._ledger.keep(signed)

    def close(self, sign: Sign) -> None:
        """See `Lease.close`. An account that is closed, or folded since, is closed."""
        if self._is_closed(self._ledger.look(self._claim)):
            return

        def end(_: Read, account: Account) -> list[Operation]:
            closed = self._closing(account, sign, self._ledger.now())
            return [_set(f"{_at(self._claim)}/closed", closed.to_wire())]

        self._account = self._ledger.write(self._claim, end)


class _Conflict(Exception):
    """Somebody else was first."""


def _at(claim: Claim) -> str:
    return f"/status/accounts/{claim.account}"


def _set(path: str, value: object) -> Operation:
    return {"op": "add", "path": path, "value": value}  # `add` replaces what is there (RFC 6902)


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("message", ""))[:200]
    except (ValueError, AttributeError):
        return ""
