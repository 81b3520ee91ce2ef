"""The plan of a PrivacyBudget, where the order of what is seen matters."""

from datetime import UTC, datetime, timedelta

from hanse.api.budget import Account, PrivacyBudgetSpec, PrivacyBudgetStatus
from hanse.api.participation import JobRef
from hanse.api.privacy import PrivacyPlan
from hanse.controller.reconcile import budget
from hanse.controller.reconcile.mirror import mirror_of
from hanse.controller.reconcile.model import ObservedBudget, Plan
from hanse.controller.views import Meta

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NAME = "11111111-2222-3333-4444-555555555555"
META = Meta("PrivacyBudget", "bank-a", "borrowers", "uid-1", "1", 1)
SPEC = PrivacyBudgetSpec(unit="Silo", epsilon="8.0", delta="1e-5")


def account(**fields: object) -> Account:
    plan = PrivacyPlan(
        unit="Silo", adjacency="Replace", epsilon="1", delta="1e-5", clip="1", noise_multipliers=["10"] * 3
    )
    made = Account(
        job=JobRef(namespace="consortium", name="credit", uid=NAME),
        participation="credit-bank-a-12345678",
        plan_hash="sha256:" + "b" * 64,
        plan=plan,
        lease_until=NOW + budget.LEASE,
    )
    changed: Account = made.model_copy(update=fields)
    return changed


def planned(held: Account, **seen: frozenset[str]) -> Plan:
    status = PrivacyBudgetStatus(accounts={NAME: held})
    known = mirror_of(META.uid, status)
    return budget.plan(ObservedBudget(META, SPEC, status, mirrors=(known, known), **seen), NOW)  # type: ignore[arg-type]


def left(made: Plan) -> Account:
    assert isinstance(made.status, PrivacyBudgetStatus)
    return made.status.accounts[NAME]


def test_a_reservation_waits_for_its_participation_to_be_seen() -> None:
    """Its job has started, and the watch has not told of the Participation yet."""
    made = planned(account())
    assert left(made).closed is None
    assert made.after is not None


def test_a_reservation_whose_job_is_over_before_a_gate_came_is_closed_at_once() -> None:
    closed = left(planned(account(), over=frozenset({NAME}))).closed
    assert closed is not None
    assert closed.cause == "LeaseOver"


def test_one_that_a_gate_has_opened_waits_for_the_lease() -> None:
    assert left(planned(account(epoch=1), over=frozenset({NAME}))).closed is None
    late = account(epoch=1, lease_until=NOW - budget.MARGIN - timedelta(seconds=1))
    assert left(planned(late, over=frozenset({NAME}))).closed is not None


def test_a_living_lease_is_renewed_at_half_time_and_no_sooner() -> None:
    alive = frozenset({NAME})
    early = account(lease_until=NOW + budget.LEASE / 2 + timedelta(seconds=2))
    assert left(planned(early, alive=alive)).lease_until == early.lease_until
    late = account(lease_until=NOW + budget.LEASE / 2)
    assert left(planned(late, alive=alive)).lease_until == NOW + budget.LEASE
