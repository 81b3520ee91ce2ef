"""Budgets over jobs: reserved before anything starts, paid by gates, folded at the end, remembered for ever."""

import json

import pytest

from hanse.controller import errors, kinds
from hanse.controller.door import Json
from hanse.controller.kinds import Kind
from hanse.controller.reconcile.budget import LEASE, MARGIN
from hanse.pki import identity
from tests.unit.controller.owners import BUDGET, PrivateRig, budget, job
from tests.unit.controller.rig import SYSTEM

OVER = LEASE.total_seconds() + MARGIN.total_seconds() + 1


@pytest.fixture
async def rig() -> PrivateRig:
    made = PrivateRig()
    made.owners()
    await made.settle()
    return made


async def settled(rig: PrivateRig, seconds: float = 2) -> None:
    """Copies follow a budget a moment later."""
    await rig.settle()
    for _ in range(4):
        await rig.advance(seconds / 4)


async def test_all_is_reserved_before_anything_starts(rig: PrivateRig) -> None:
    rig.door.put(job())
    await settled(rig)
    assert rig.accepted()[0] == "True"
    assert rig.job["status"]["privacy"]["asked"] == "3.0"
    for member in ("bank-a", "bank-b"):
        account = next(iter(rig.accounts(member).values()))
        participation = rig.participation(member)
        assert participation is not None
        assert account.plan_hash == participation["spec"]["planHash"]
        reserved = next(c for c in participation["status"]["conditions"] if c["type"] == "BudgetReserved")
        assert (reserved["status"], reserved["reason"]) == ("True", "BudgetReserved")
        epsilon = participation["status"]["epsilon"]
        assert (epsilon["reserved"], epsilon["spent"]) == ("3.000", "0")
        assert rig.client_job(member) is not None
    stored = rig.budget()
    assert stored.reserved is not None
    assert (stored.reserved.epsilon, stored.spent.epsilon if stored.spent else "") == ("3.000", "0")
    assert stored.left is not None
    assert 5.0 < float(stored.left) < 8.0


async def test_no_client_starts_before_the_operators_copy_knows_the_reservation(rig: PrivateRig) -> None:
    rig.door.put(job())
    for _ in range(60):
        await rig.settle(steps=200)
        starts = [o for (kind, _, _), o in rig.door.objects.items() if kind == "Participation"]
        copied = rig.mirrors()[1]
        if starts:
            assert copied is not None
            worst = json.loads(copied["data"]["budget.json"])["worst"]
            assert float(worst[0]) > 0
            return
        rig.clock.advance(0.5)
    raise AssertionError("the job does not start")


async def test_a_job_that_is_too_dear_is_refused_with_what_is_left_and_holds_nothing(rig: PrivateRig) -> None:
    rig.door.put(budget("bank-b", "2.0"))
    await rig.settle()
    rig.door.put(job())
    await settled(rig, 20)
    status, reason, message = rig.accepted()
    assert (status, reason) == ("False", "BudgetExceeded")
    assert "bank-b/borrowers" in message
    assert "left is 2 of 2" in message
    assert rig.accounts("bank-a") == {}
    assert rig.accounts("bank-b") == {}
    assert rig.participation("bank-a") is None
    rig.door.put(budget("bank-b", "4.0"))
    await settled(rig, 20)
    assert rig.accepted()[0] == "True"


async def test_a_reservation_is_returned_when_another_owner_has_no_room(rig: PrivateRig) -> None:
    """bank-a's part was reserved in the meantime: all participants or none."""
    rig.door.put(budget("bank-b", "4.0"))
    await rig.settle()
    rig.door.put(job("first", epsilon="3.5"))
    await settled(rig)
    rig.door.put(job("second", epsilon="3.5"))
    await settled(rig, 30)
    assert rig.accepted("second")[:2] == ("False", "BudgetExceeded")
    assert len(rig.accounts("bank-a")) == 1


async def test_five_jobs_of_one_release_and_epsilon_one_cost_2_42(rig: PrivateRig) -> None:
    for number in range(5):
        name = f"job-{number}"
        rig.door.put(job(name, members=("bank-a",), epsilon="1.0", rounds=1))
        await settled(rig)
        rig.pay("bank-a", name, "Train-1-1")
        await settled(rig)
        rig.close("bank-a", name)
        await settled(rig)
    stored = rig.budget()
    assert stored.accounts == {}
    assert stored.spent is not None
    assert abs(float(stored.spent.epsilon) - 2.42) <= 0.01
    assert stored.reserved is not None
    assert stored.reserved.epsilon == "0"
    assert stored.pages == len(rig.pages()) == 5


async def test_pages_are_a_chain_that_ends_at_the_head(rig: PrivateRig) -> None:
    for name in ("one", "two"):
        rig.door.put(job(name, members=("bank-a",), rounds=1))
        await settled(rig)
        rig.pay("bank-a", name, "Train-1-1")
        rig.close("bank-a", name)
        await settled(rig)
    pages = {o["metadata"]["name"]: json.loads(o["data"]["page.json"]) for o in rig.pages()}
    assert all(o["immutable"] for o in rig.pages())
    head = rig.budget().chain_head
    assert head is not None
    newest = pages[f"ledger.{BUDGET}.{head.removeprefix('sha256:')[:16]}"]
    assert newest["page"] == 2
    first = pages[f"ledger.{BUDGET}.{newest['previous'].removeprefix('sha256:')[:16]}"]
    assert first["page"] == 1
    assert first["releases"]["Train-1-1"]["digest"] == "sha256:" + "1" * 64


async def test_what_was_not_released_is_returned_after_the_signed_close_alone(rig: PrivateRig) -> None:
    rig.door.put(job(members=("bank-a",)))
    await settled(rig)
    rig.pay("bank-a", "credit", "Train-1-1")
    await settled(rig)
    before = rig.budget()
    assert before.left is not None
    rig.close("bank-a", "credit", identity.new_identity().private)
    await settled(rig)
    assert len(rig.accounts()) == 1, "anybody's signature returned it"
    assert rig.budget().left == before.left
    await rig.advance(OVER)
    assert rig.accounts() == {}
    stored = rig.budget()
    assert stored.left is not None
    assert float(stored.left) > float(before.left)
    assert stored.spent is not None
    assert 0 < float(stored.spent.epsilon) < 3


async def test_a_lease_is_renewed_while_the_job_lives_and_folded_after_it(rig: PrivateRig) -> None:
    made = job(members=("bank-a",))
    made["spec"]["startTimeoutSeconds"] = 86_400
    rig.door.put(made)
    await settled(rig)
    rig.pay("bank-a", "credit", "Train-1-1", "Train-2-1")
    for _ in range(5):
        await rig.advance(LEASE.total_seconds() / 2)
    account = next(iter(rig.accounts().values()))
    assert account.lease_until > rig.clock.now()
    rig.door.remove("FederatedJob", "consortium", "credit")
    await settled(rig)
    assert len(rig.accounts()) == 1, "a gate that is cut off may still believe in its lease"
    await rig.advance(OVER)
    await settled(rig)
    assert rig.accounts() == {}
    page = json.loads(rig.pages()[0]["data"]["page.json"])
    assert sorted(page["releases"]) == ["Train-1-1", "Train-2-1"]
    assert page["closed"]["cause"] == "LeaseOver"


async def test_a_job_that_was_deleted_before_its_gate_came_costs_nothing(rig: PrivateRig) -> None:
    rig.door.put(job(members=("bank-a",)))
    await settled(rig)
    rig.door.remove("FederatedJob", "consortium", "credit")
    await settled(rig, 30)
    assert rig.accounts() == {}, "nothing waits for the lease"
    stored = rig.budget()
    assert stored.spent is not None
    assert stored.spent.epsilon == "0"


async def test_a_budget_that_is_made_anew_remembers_spent_and_reserved(rig: PrivateRig) -> None:
    rig.door.put(job(members=("bank-a",)))
    await settled(rig)
    rig.pay("bank-a", "credit", "Train-1-1")
    await settled(rig)
    rig.door.remove("PrivacyBudget", "bank-a", BUDGET)
    await settled(rig)
    rig.door.put(budget("bank-a", "8.0"))
    await settled(rig)
    stored = rig.budget()
    assert stored.accounts == {}
    assert stored.spent is not None
    assert abs(float(stored.spent.epsilon) - 3.0) < 0.01, "its gate may have released all that was reserved"
    rig.door.put(job("next", members=("bank-a",), epsilon="7.9"))
    await settled(rig, 20)
    assert rig.accepted("next")[:2] == ("False", "BudgetExceeded")


@pytest.mark.parametrize("lost", [0, 1])
async def test_one_lost_copy_changes_nothing(rig: PrivateRig, lost: int) -> None:
    rig.door.put(job(members=("bank-a",), rounds=1))
    await settled(rig)
    rig.pay("bank-a", "credit", "Train-1-1")
    rig.close("bank-a", "credit")
    await settled(rig)
    copied = rig.mirrors()[lost]
    assert copied is not None
    rig.door.remove("PrivacyBudget", "bank-a", BUDGET)
    rig.door.remove("ConfigMap", copied["metadata"]["namespace"], copied["metadata"]["name"])
    rig.door.put(budget("bank-a"))
    await settled(rig)
    stored = rig.budget()
    assert stored.spent is not None
    assert abs(float(stored.spent.epsilon) - 3.0) < 0.01
    assert stored.pages == 1


async def test_a_backup_of_the_status_does_not_lower_it(rig: PrivateRig) -> None:
    raw = rig.door.find(kinds.PRIVACY_BUDGET, "bank-a", BUDGET)
    assert raw is not None
    backup = dict(raw["status"])
    rig.door.put(job(members=("bank-a",), rounds=1))
    await settled(rig)
    rig.pay("bank-a", "credit", "Train-1-1")
    rig.close("bank-a", "credit")
    await settled(rig)
    rig.door.remove("PrivacyBudget", "bank-a", BUDGET)
    rig.door.put({**budget("bank-a"), "status": backup})
    await settled(rig)
    stored = rig.budget()
    assert stored.spent is not None
    assert abs(float(stored.spent.epsilon) - 3.0) < 0.01


async def test_without_its_page_no_account_leaves_the_budget(rig: PrivateRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.door.put(job(members=("bank-a",), rounds=1))
    await settled(rig)
    rig.pay("bank-a", "credit", "Train-1-1")
    rig.close("bank-a", "credit")
    create = rig.door.create

    async def no_pages(manifest: Json) -> Json | None:
        if manifest["metadata"]["name"].startswith("ledger."):
            raise errors.ApiProblem("etcd is full", kind="ConfigMap", namespace="bank-a")
        return await create(manifest)

    monkeypatch.setattr(rig.door, "create", no_pages)
    await settled(rig, 10)
    assert len(rig.accounts()) == 1
    monkeypatch.undo()
    await settled(rig, 90)
    assert rig.accounts() == {}
    assert len(rig.pages()) == 1


async def test_no_gate_may_start_while_the_operators_copy_cannot_be_written(
    rig: PrivateRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = rig.door.apply

    async def no_copies(manifest: Json) -> Json:
        if manifest["metadata"]["name"].startswith("budget."):
            raise errors.ApiProblem("etcd is full", kind="ConfigMap", namespace=SYSTEM)
        return await apply(manifest)

    monkeypatch.setattr(rig.door, "apply", no_copies)
    rig.door.put(job(members=("bank-a",)))
    await settled(rig, 30)
    assert len(rig.accounts()) == 1
    assert "startTime" not in rig.job["status"]
    monkeypatch.undo()
    await settled(rig, 120)
    assert "startTime" in rig.job["status"]


async def test_what_one_owner_has_reserved_is_returned_when_another_has_no_room_any_more(
    rig: PrivateRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = rig.door.replace_status

    async def taken(kind: Kind, namespace: str, name: str, resource_version: str, status: Json) -> Json:
        if namespace == "bank-b" and status.get("accounts"):
            rig.door.put(budget("bank-b", "1.0"))  # its owner lowers it, before our write
            raise errors.Conflict("written in between", kind=kind.kind, namespace=namespace, name=name)
        return await replace(kind, namespace, name, resource_version, status)

    monkeypatch.setattr(rig.door, "replace_status", taken)
    rig.door.put(job())
    await settled(rig, 60)
    assert rig.accepted()[:2] == ("False", "BudgetExceeded")
    assert rig.door.count("status", kinds.PRIVACY_BUDGET) > 2
    assert any(p for p in rig.pages("bank-a")), "it was reserved there"
    assert rig.accounts("bank-a") == {}


async def test_a_copy_of_ours_that_cannot_be_read_stops_reservations(rig: PrivateRig) -> None:
    copied = rig.mirrors()[1]
    assert copied is not None
    rig.door.put({**copied, "data": {"budget.json": "{}"}})
    rig.door.put(job(members=("bank-a",)))
    await settled(rig, 60)
    assert rig.participation("bank-a") is None
    assert rig.accounts() == {}


async def test_a_client_does_not_start_again_without_its_account(rig: PrivateRig) -> None:
    rig.door.put(job(members=("bank-a",)))
    await settled(rig)
    made = rig.client_job("bank-a")
    assert made is not None
    rig.door.remove("PrivacyBudget", "bank-a", BUDGET)
    rig.door.remove("Job", "bank-a", made["metadata"]["name"])
    await settled(rig)
    assert rig.client_job("bank-a") is None
    participation = rig.participation("bank-a")
    assert participation is not None
    reserved = next(c for c in participation["status"]["conditions"] if c["type"] == "BudgetReserved")
    assert (reserved["status"], reserved["reason"]) == ("False", "BudgetNotReserved")


async def test_the_job_shows_what_was_spent_of_what_was_asked(rig: PrivateRig) -> None:
    rig.door.put(job())
    await settled(rig)
    rig.pay("bank-a", "credit", "Train-1-1")
    await settled(rig)
    summary = rig.status["summary"]["epsilon"]
    spent, asked = summary.split("/")
    assert 0 < float(spent) < 3
    assert asked == "3.0"
    by_name = {p["name"]: p.get("epsilonSpent") for p in rig.status["participants"]}
    assert float(by_name["bank-a"]) > float(by_name["bank-b"] or 0) == 0


async def test_the_owners_key_is_made_once(rig: PrivateRig) -> None:
    key = rig.owner_key("bank-a")
    owner = rig.door.find(kinds.PARTICIPANT, "bank-a", "bank-a")
    assert owner is not None
    assert owner["status"]["identity"] == identity.identity_public_key(key)
    rig.restart()
    await settled(rig)
    assert rig.owner_key("bank-a") == key


async def test_data_of_a_deleted_budget_is_refused_under_another_name(rig: PrivateRig) -> None:
    data = "sha256:" + "d" * 64
    raw = rig.door.find(kinds.PRIVACY_BUDGET, "bank-a", BUDGET)
    assert raw is not None
    seen = {"dataset": "loans", "at": "2026-11-22T12:00:00Z"}
    rig.door.put({**raw, "status": {**raw["status"], "datasets": {data: seen}}})
    await settled(rig)
    rig.door.remove("PrivacyBudget", "bank-a", BUDGET)
    rig.door.put(budget("bank-a", name="customers"))
    await settled(rig)
    other = rig.door.find(kinds.PRIVACY_BUDGET, "bank-a", "customers")
    assert other is not None
    assert other["status"]["datasets"][data]["population"] == BUDGET
    rig.door.put(budget("bank-a"))
    await settled(rig)
    anew = rig.door.find(kinds.PRIVACY_BUDGET, "bank-a", BUDGET)
    assert anew is not None
    assert "population" not in anew["status"]["datasets"][data]


async def test_a_payment_is_counted_a_moment_later_and_once_for_many(rig: PrivateRig) -> None:
    rig.door.put(job(members=("bank-a",)))
    await settled(rig)
    before = rig.door.count("status", kinds.PRIVACY_BUDGET)
    for number in range(1, 5):
        rig.pay("bank-a", "credit", f"Train-{number}-1")
        await rig.settle()
    await rig.advance(2)
    stored = rig.budget()
    assert stored.spent is not None
    assert float(stored.spent.epsilon) > 0
    assert rig.door.count("status", kinds.PRIVACY_BUDGET) - before <= 4
