"""Budgets on a real kube-apiserver: reservations at once, gates with their own token, what kubectl shows."""

import asyncio
import base64
import json
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightkube.config.kubeconfig import KubeConfig

from e2e.cluster.apiserver import ApiServer
from e2e.cluster.kubeapi import ApiError, KubeApi
from hanse.api import names
from hanse.api.budget import Account, PrivacyBudgetSpec, PrivacyBudgetStatus
from hanse.api.participation import JobRef
from hanse.api.planhash import canonical_hash
from hanse.api.privacy import DifferentialPrivacy, PrivacyPlan, ReleaseKind
from hanse.api.rbac import GATE_ACCOUNT, RBAC_GROUP, gate_rules
from hanse.controller import errors, kinds
from hanse.controller.cache import Cache
from hanse.controller.clock import SystemClock
from hanse.controller.cluster import Cluster
from hanse.controller.execute_budget import BudgetExecutor
from hanse.controller.observe_budget import BudgetObserver
from hanse.controller.reconcile import budget as budget_plan
from hanse.controller.reconcile.model import Apply, Reserve
from hanse.controller.views import Custom
from hanse.dp import epsilon, resolve
from hanse.dp.book import total_worst, weigh
from hanse.pki import identity
from hanse.runtime.ledger import Claim, NotReserved, Slot
from hanse.runtime.ledger.kube import Access, KubeLedger
from tests.integration.conftest import Kubectl
from tests.integration.controller.conftest import Site
from tests.unit.controller import owners, world

Json = dict[str, Any]
DIGEST = "sha256:" + "1" * 64
_numbers = count(1)


def plan(asked: float, rounds: int = 1) -> PrivacyPlan:
    wanted = DifferentialPrivacy(unit="Silo", epsilon=f"{asked:.3f}", delta="1e-5", clip="1")
    return resolve(wanted, rounds, None)


def account(asked: PrivacyPlan, uid: str) -> Account:
    return Account(
        job=JobRef(namespace="consortium", name="credit", uid=uid),
        participation="credit-bank-a-12345678",
        plan_hash=DIGEST,
        plan=asked,
        lease_until=datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=10),
    )


class Crowd:
    """Many that reserve in one budget at once, each through its own view of the API server."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._kubeconfig = kubeconfig
        self._namespace = namespace
        self.name = f"borrowers-{next(_numbers)}"

    async def run(self, limit: str, asked: list[float]) -> tuple[PrivacyBudgetSpec, PrivacyBudgetStatus, list[float]]:
        """The budget afterwards, and what did not get in."""
        cluster = Cluster(KubeConfig.from_file(str(self._kubeconfig)))
        try:
            await self._prepare(cluster, limit)
            plans = {each: plan(each) for each in set(asked)}
            got = await asyncio.gather(*(self._reserve(cluster, plans[each]) for each in asked))
            raw = await cluster.get(kinds.PRIVACY_BUDGET, self._namespace, self.name)
            assert raw is not None
            refused = [each for each, inside in zip(asked, got, strict=True) if not inside]
            spec = PrivacyBudgetSpec.model_validate(raw["spec"])
            return spec, PrivacyBudgetStatus.model_validate(raw["status"]), refused
        finally:
            await cluster.close()

    async def _prepare(self, cluster: Cluster, limit: str) -> None:
        made = owners.budget(self._namespace, limit, self.name)
        await cluster.create(made)
        cache = Cache()
        raw = await cluster.get(kinds.PRIVACY_BUDGET, self._namespace, self.name)
        assert raw is not None
        view = cache.put(raw)
        assert isinstance(view, Custom)
        visit = budget_plan.plan(await BudgetObserver(cache, cluster, self._namespace).budget(view), datetime.now(UTC))
        for action in visit.actions:
            assert isinstance(action, Apply)
            await cluster.apply(action.manifest)

    async def _reserve(self, cluster: Cluster, asked: PrivacyPlan) -> bool:
        """As the engine does: after a conflict again."""
        executor = BudgetExecutor(cluster, Cache(), SystemClock(), self._namespace)
        uid = str(uuid.uuid4())
        action = Reserve(self._namespace, self.name, names.account_id(uid, "bank-a"), account(asked, uid))
        while True:
            try:
                await executor.reserve(action)
            except errors.BudgetTaken:
                return False
            except errors.Conflict:
                continue
            return True


def check(spec: PrivacyBudgetSpec, status: PrivacyBudgetStatus, refused: list[float]) -> None:
    """Never more than there is, and nobody is refused for whom there is room."""
    assert epsilon(total_worst(status), float(spec.delta)) <= float(spec.epsilon)
    for each in refused:
        assert not weigh(spec, status, plan(each)).fits


async def test_a_hundred_reservations_at_once_never_overspend(apiserver: ApiServer, namespace: str) -> None:
    spec, status, refused = await Crowd(apiserver.kubeconfig, namespace).run("4.0", [1.0] * 100)
    check(spec, status, refused)
    assert len(status.accounts) + len(refused) == 100
    assert 5 < len(status.accounts) < 32


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.sampled_from(["0.5", "2.0", "8.0"]),
    asked=st.lists(st.sampled_from([0.1, 0.3, 0.5, 1.0, 2.5, 7.9]), min_size=2, max_size=12),
)
def test_reservations_at_once_never_overspend(
    apiserver: ApiServer, namespace: str, limit: str, asked: list[float]
) -> None:
    check(*asyncio.run(Crowd(apiserver.kubeconfig, namespace).run(limit, asked)))


class Gates:
    """Owners of a site with budgets, and gates that pay with the token that a gate's pod has."""

    def __init__(self, site: Site, kubeconfig: Path, directory: Path) -> None:
        self.site = site
        cluster = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]
        self._server = cluster["server"]
        self._directory = directory
        (directory / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        self.bank = site.banks[0]
        made = world.participant(self.bank, namespaces=(site.consortium,))
        made["spec"]["datasets"][0].update(population=owners.BUDGET, records=1000)
        claim = world.claim(self.bank)
        claim["spec"] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
        for each in (made, claim, owners.budget(self.bank, "8.0")):
            site.put(each)
        self._token()

    def _token(self) -> None:
        rbac, meta = f"/apis/{RBAC_GROUP}/v1/namespaces/{self.bank}", {"name": GATE_ACCOUNT}
        accounts = f"/api/v1/namespaces/{self.bank}/serviceaccounts"
        kube = self.site.kube
        kube.create(accounts, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
        role = {"apiVersion": f"{RBAC_GROUP}/v1", "kind": "Role", "metadata": meta, "rules": gate_rules()}
        kube.create(f"{rbac}/roles", role)
        subject = {"kind": "ServiceAccount", "name": GATE_ACCOUNT, "namespace": self.bank}
        reference = {"apiGroup": RBAC_GROUP, "kind": "Role", "name": GATE_ACCOUNT}
        bound = {"kind": "RoleBinding", "metadata": meta, "roleRef": reference, "subjects": [subject]}
        kube.create(f"{rbac}/rolebindings", {"apiVersion": f"{RBAC_GROUP}/v1", **bound})
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        made = kube.create(f"{accounts}/{GATE_ACCOUNT}/token", review)
        (self._directory / "token").write_text(made["status"]["token"])

    def submit(self, name: str, **privacy: Any) -> Json:
        made = owners.job(name, members=(self.bank,), **privacy)
        made["metadata"]["namespace"] = self.site.consortium
        return self.site.put(made)

    def participation(self, name: str) -> Json | None:
        found = [p for p in self.site.listed("Participation", self.bank) if p["spec"]["jobRef"]["name"] == name]
        return found[0] if found else None

    def claim(self, name: str) -> Claim:
        """What the gate's client.json says."""
        found = self.site.until("its Participation", partial(self.participation, name))
        asked, reference = found["spec"]["plan"], found["spec"]["jobRef"]
        assert found["spec"]["planHash"] == canonical_hash({**asked, "caCertificate": ""})
        return Claim(
            account=names.account_id(reference["uid"], self.bank),
            plan=PrivacyPlan.model_validate(asked["privacy"]),
            plan_hash=found["spec"]["planHash"],
            dataset="loans",
            dataset_digest="sha256:" + "d" * 64,
        )

    def ledger(self) -> KubeLedger:
        access = Access(self._server, self.bank, self._directory / "token", self._directory / "ca.crt")
        return KubeLedger(access, owners.BUDGET)

    def sign(self, message: bytes) -> str:
        found = self.site.until("the owner's key", lambda: self.site.find("Secret", self.bank, names.OWNER_IDENTITY))
        return identity.sign(base64.b64decode(found["data"]["identity.key"]).decode(), message)

    def budget(self) -> PrivacyBudgetStatus:
        raw = self.site.find("PrivacyBudget", self.bank, owners.BUDGET)
        assert raw is not None
        return PrivacyBudgetStatus.model_validate(raw.get("status") or {})


@pytest.fixture
def gates(site: Site, apiserver: ApiServer, tmp_path: Path) -> Gates:
    site.start()
    return Gates(site, apiserver.kubeconfig, tmp_path)


def test_five_jobs_of_epsilon_one_show_2_42_and_a_sixth_too_dear_what_is_left(gates: Gates, kubectl: Kubectl) -> None:
    for number in range(5):
        name = f"job-{number}"
        gates.submit(name, epsilon="1.0", rounds=1)
        lease = gates.ledger().open(gates.claim(name))
        lease.charge(Slot(ReleaseKind.TRAIN, 1, 1), DIGEST)
        lease.close(gates.sign)
        gates.site.until("folded", lambda: gates.budget().accounts == {})
    shown = kubectl("-n", gates.bank, "get", "privacybudgets").stdout
    header, row = (line.split() for line in shown.splitlines())
    columns = dict(zip(header, row, strict=True))
    assert columns["TOTAL"] == "8.0"
    assert abs(float(columns["SPENT"]) - 2.42) <= 0.01
    assert columns["RESERVED"] == "0"
    gates.submit("dear", epsilon="7.9")
    gates.site.until("refused", lambda: gates.site.condition("Accepted", "dear") == ("False", "BudgetExceeded"))
    told = kubectl("-n", gates.site.consortium, "describe", "federatedjob", "dear").stdout
    assert f"{gates.bank}/borrowers" in told
    assert "left is" in told
    assert gates.budget().accounts == {}


def test_a_gate_of_a_budget_that_was_deleted_releases_nothing_and_all_of_it_counts(gates: Gates) -> None:
    gates.submit("credit", epsilon="3.0")
    lease = gates.ledger().open(gates.claim("credit"))
    lease.charge(Slot(ReleaseKind.TRAIN, 1, 1), DIGEST)
    path = gates.site.path("PrivacyBudget", gates.bank, owners.BUDGET)
    gates.site.until("copied", lambda: gates.site.find("ConfigMap", gates.bank, f"budget.{owners.BUDGET}"))
    gates.site.kube.delete(path)
    with pytest.raises(NotReserved):
        lease.charge(Slot(ReleaseKind.TRAIN, 2, 1), DIGEST)
    gates.site.put(owners.budget(gates.bank, "8.0"))
    gates.site.until("remembered", lambda: gates.budget().spent is not None)
    with pytest.raises(NotReserved):
        lease.charge(Slot(ReleaseKind.TRAIN, 2, 1), DIGEST)
    remembered = gates.budget()
    assert remembered.spent is not None
    assert abs(float(remembered.spent.epsilon) - 3.0) < 0.01


def test_nobody_lowers_what_was_spent_or_takes_an_account_away(gates: Gates, kube: KubeApi) -> None:
    gates.submit("credit", epsilon="3.0")
    claim = gates.claim("credit")
    gates.ledger().open(claim).charge(Slot(ReleaseKind.TRAIN, 1, 1), DIGEST)
    gates.site.until("counted", lambda: float(((s := gates.budget().spent) and s.epsilon) or 0) > 0)
    path = f"{gates.site.path('PrivacyBudget', gates.bank, owners.BUDGET)}/status"
    stored = gates.budget().to_wire()
    for change in (
        {"spent": None},
        {"spent": {**stored["spent"], "rdp": ["0"] * 65}},
        {"accounts": {claim.account: None}},
        {"accounts": {claim.account: {"releases": {"Train-1-1": None}}}},
        {"accounts": {claim.account: {"epoch": 0}}},
        {"datasets": None},
    ):
        with pytest.raises(ApiError):
            kube.merge(path, {"status": change})
