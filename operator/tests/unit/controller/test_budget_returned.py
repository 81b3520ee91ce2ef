"""A reservation that was returned, and a job that is tried again before the budget has folded it."""

import pytest

from hanse.controller import errors
from hanse.controller.door import Json
from tests.unit.controller.owners import PrivateRig, job


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
