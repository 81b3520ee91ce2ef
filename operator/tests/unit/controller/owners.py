"""Owners with a population, its PrivacyBudget, and gates that pay: for tests of budgets over the world in memory."""

import copy
from datetime import timedelta
from typing import Any

from hanse.api import names
from hanse.api.budget import Account, Closed, PrivacyBudgetStatus, Release
from hanse.api.closing import statement
from hanse.controller import kinds
from hanse.controller.door import Json
from hanse.pki import identity
from tests.unit.controller import world
from tests.unit.controller.rig import SYSTEM, Rig

BUDGET = "borrowers"
DP = {"unit": "Silo", "epsilon": "3.0", "delta": "1e-5", "clip": "1"}


def job(name: str = "credit", members: tuple[str, ...] = ("bank-a", "bank-b"), **privacy: Any) -> Json:
    """A private job."""
    asked = {**DP, **privacy}
    rounds = asked.pop("rounds", 5)
    made = world.federated_job(name, members=members, rounds=rounds, privacy={"differentialPrivacy": asked})
    made["spec"]["aggregation"] = {"weights": "Equal"}
    return made


def budget(namespace: str, epsilon: str = "8.0", name: str = BUDGET) -> Json:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "PrivacyBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"unit": "Silo", "epsilon": epsilon, "delta": "1e-5"},
    }


class PrivateRig(Rig):
    """Two banks, each with a budget of epsilon 8."""

    def owners(self, *members: str, epsilon: str = "8.0") -> None:
        for name in members or ("bank-a", "bank-b"):
            made = world.participant(name)
            made["spec"]["datasets"][0].update(population=BUDGET, records=1000)
            self.door.put(made)
            self.door.put(world.claim(name))
            self.door.put(budget(name, epsilon))

    def budget(self, member: str = "bank-a") -> PrivacyBudgetStatus:
        found = self.door.find(kinds.PRIVACY_BUDGET, member, BUDGET)
        assert found is not None
        return PrivacyBudgetStatus.model_validate(found.get("status") or {})

    def accounts(self, member: str = "bank-a") -> dict[str, Account]:
        return dict(self.budget(member).accounts)

    def job_named(self, name: str) -> Json:
        found = self.door.find(kinds.FEDERATED_JOB, "consortium", name)
        assert found is not None
        return found

    def accepted(self, name: str = "credit") -> tuple[str, str, str]:
        found = next(c for c in self.job_named(name)["status"]["conditions"] if c["type"] == "Accepted")
        return found["status"], found["reason"], found["message"]

    def mirrors(self, member: str = "bank-a") -> list[Json | None]:
        return [
            self.door.find(kinds.CONFIG_MAP, member, names.budget_mirror_name(BUDGET)),
            self.door.find(kinds.CONFIG_MAP, SYSTEM, names.budget_operator_mirror_name(member, BUDGET)),
        ]

    def pages(self, member: str = "bank-a") -> list[Json]:
        return [
            o
            for (kind, ns, name), o in self.door.objects.items()
            if kind == "ConfigMap" and ns == member and name.startswith(f"ledger.{BUDGET}.")
        ]

    # --- what gates do ---

    def pay(self, member: str, job_name: str, *slots: str) -> None:
        """Open the account and charge releases, as a gate does behind the operator's back."""
        account_id = names.account_id(self.job_named(job_name)["metadata"]["uid"], member)
        self._change(member, account_id, lambda a: _paid(a, slots, self.clock.now()))

    def close(self, member: str, job_name: str, key: str | None = None) -> None:
        """Close it, signed by the owner's key, or by another one."""
        account_id = names.account_id(self.job_named(job_name)["metadata"]["uid"], member)
        private = key or self.owner_key(member)

        def closed(account: Account) -> Account:
            signature = identity.sign(private, statement(account_id, account))
            end = Closed(cause="Signed", at=self.clock.now(), signature=signature)
            return account.model_copy(update={"closed": end})

        self._change(member, account_id, closed)

    def owner_key(self, member: str) -> str:
        import base64

        found = self.door.find(kinds.SECRET, member, names.OWNER_IDENTITY)
        assert found is not None
        return base64.b64decode(found["data"]["identity.key"]).decode()

    def _change(self, member: str, account_id: str, change: Any) -> None:
        raw = self.door.find(kinds.PRIVACY_BUDGET, member, BUDGET)
        assert raw is not None
        made = copy.deepcopy(raw)
        account = Account.model_validate(made["status"]["accounts"][account_id])
        changed = change(account)
        made["status"]["accounts"][account_id] = changed.to_wire()
        made["status"]["entries"] += len(changed.releases) - len(account.releases)
        self.door.put(made)


def _paid(account: Account, slots: tuple[str, ...], at: Any) -> Account:
    entries = {slot: Release(digest="sha256:" + "1" * 64, at=at + timedelta(0)) for slot in slots}
    update = {"epoch": account.epoch + 1, "releases": {**account.releases, **entries}}
    return account.model_copy(update=update)
