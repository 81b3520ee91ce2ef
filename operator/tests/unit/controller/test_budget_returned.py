"""Budgets that an owner or a job comes back to: an account that was given back, a name that was another unit's."""

import pytest

from hanse.controller import errors, kinds
from hanse.controller.door import Json
from tests.unit.controller.owners import BUDGET, PrivateRig, budget, job


async def test_no_job_starts_on_an_account_that_was_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = PrivateRig()
    rig.owners()
    await rig.settle()
    create, apply = rig.door.create, rig.door.apply

    async def no_pages(manifest: Json) -> Json | None:
        if manifest["metadata"]["name"].startswith("ledger."):
            raise errors.ApiProblem("etcd is full", kind="ConfigMap", namespace="bank-a")
        return await create(manifest)

    async def no_copies(manifest: Json) -> Json:
        if manifest["metadata"]["name"].startswith("budget."):
            raise errors.ApiProblem("etcd is full", kind="ConfigMap", namespace="bank-a")
        return await apply(manifest)

    monkeypatch.setattr(rig.door, "create", no_pages)
    with monkeypatch.context() as closed:
        closed.setattr(rig.door, "apply", no_copies)
        rig.door.put(job())
        await rig.settle()
        assert rig.accounts("bank-a")
        assert "startTime" not in rig.job["status"]
        rig.job["spec"]["suspend"] = True
        rig.door.put(rig.job)
        await rig.advance(20)
    assert all(a.closed is not None for a in rig.accounts("bank-a").values())
    rig.job["spec"]["suspend"] = False
    rig.door.put(rig.job)
    await rig.advance(30)
    assert "startTime" not in rig.job["status"]
    monkeypatch.undo()
    for _ in range(8):
        await rig.advance(30)
    assert "startTime" in rig.job["status"]
    assert [a.closed for a in rig.accounts("bank-a").values()] == [None]


async def test_what_was_spent_per_record_is_not_taken_for_a_loss_per_silo() -> None:
    """Deleted and made anew with the larger unit, the same numbers would promise what nobody has kept."""
    rig = PrivateRig()
    rig.owners("bank-a")
    fine = budget("bank-a")
    fine["spec"]["unit"] = "Record"
    rig.door.put(fine)
    await rig.settle()
    rig.door.put(job(members=("bank-a",), rounds=1))
    for _ in range(6):
        await rig.advance(1)
    rig.pay("bank-a", "credit", "Train-1-1")
    rig.close("bank-a", "credit")
    for _ in range(6):
        await rig.advance(1)
    rig.door.remove("PrivacyBudget", "bank-a", BUDGET)
    rig.door.put(budget("bank-a"))
    for _ in range(6):
        await rig.advance(1)
    made = rig.door.find(kinds.PRIVACY_BUDGET, "bank-a", BUDGET)
    assert made is not None
    ready = next(c for c in made["status"]["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec")
    rig.door.put(job("next", members=("bank-a",), epsilon="1.0"))
    for _ in range(6):
        await rig.advance(5)
    assert rig.accounts() == {}
    assert "startTime" not in rig.job_named("next")["status"]
