"""Budgets as arithmetic: what fits, what is folded, what people see."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.api.budget import Account, Closed, PrivacyBudgetSpec, PrivacyBudgetStatus, Release
from hanse.api.participation import JobRef
from hanse.api.privacy import DifferentialPrivacy, PrivacyPlan
from hanse.dp import UnitsDiffer, epsilon, resolve
from hanse.dp.book import (
    account_worst,
    counted,
    shown,
    shown_down,
    total_spent,
    total_worst,
    weigh,
    with_account,
    without_account,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
UID = "11111111-2222-3333-4444-55555555555{}"
PAGE = "sha256:" + "0" * 64
SPEC = PrivacyBudgetSpec(unit="Silo", epsilon="8.0", delta="1e-5")
PLANS = {
    asked: resolve(DifferentialPrivacy(unit="Silo", epsilon=asked, delta="1e-5", clip="1"), 4, None)
    for asked in ("0.5", "1.0", "3.0")
}


def account(plan: PrivacyPlan, *slots: str, closed: bool = False) -> Account:
    return Account(
        job=JobRef(namespace="consortium", name="credit", uid=UID.format(0)),
        participation="credit-bank-a-12345678",
        plan_hash=PAGE,
        plan=plan,
        lease_until=NOW,
        releases={slot: Release(digest=PAGE, at=NOW) for slot in slots},
        closed=Closed(cause="LeaseOver", at=NOW) if closed else None,
    )


def test_a_job_of_epsilon_three_costs_three() -> None:
    status = counted(SPEC, with_account(PrivacyBudgetStatus(), UID.format(1), account(PLANS["3.0"])))
    assert status.reserved is not None
    assert status.reserved.epsilon == "3.000"
    assert status.spent is not None
    assert status.spent.epsilon == "0"


def test_an_untouched_budget_has_all_of_it_left() -> None:
    for limit in ("0.5", "2.0", "8.0"):
        spec = SPEC.model_copy(update={"epsilon": limit})
        assert float(counted(spec, PrivacyBudgetStatus()).left or 0) == float(limit)


@settings(max_examples=25, deadline=None)
@given(
    asked=st.lists(st.sampled_from(sorted(PLANS)), min_size=1, max_size=5),
    paid=st.integers(min_value=0, max_value=4),
    folds=st.integers(min_value=0, max_value=5),
)
def test_folding_never_lowers_what_was_spent_nor_raises_what_may_be(asked: list[str], paid: int, folds: int) -> None:
    status = PrivacyBudgetStatus()
    slots = [f"Train-{number}-1" for number in range(1, paid + 1)]
    for number, each in enumerate(asked):
        status = with_account(status, UID.format(number), account(PLANS[each], *slots, closed=number < folds))
    status = counted(SPEC, status)
    before, most = total_spent(status), total_worst(status)
    for number in range(min(folds, len(asked))):
        status = counted(SPEC, without_account(status, UID.format(number), PAGE))
        assert all(new >= old * (1 - 1e-12) for new, old in zip(total_spent(status), before, strict=True))
        assert all(new <= old * (1 + 1e-9) for new, old in zip(total_worst(status), most, strict=True))


def test_an_open_account_is_not_folded() -> None:
    status = with_account(PrivacyBudgetStatus(), UID.format(1), account(PLANS["1.0"]))
    with pytest.raises(ValueError, match="open"):
        without_account(status, UID.format(1), PAGE)


def test_what_does_not_fit_is_refused_with_its_numbers() -> None:
    status = PrivacyBudgetStatus()
    for number in range(3):
        assert weigh(SPEC, status, PLANS["3.0"]).fits
        status = with_account(status, UID.format(number), account(PLANS["3.0"]))
    verdict = weigh(SPEC.model_copy(update={"epsilon": "6.0"}), status, PLANS["3.0"])
    assert not verdict.fits
    assert str(verdict).startswith("asks for epsilon 3, left is ")
    assert "of 6 (spent 0, reserved" in str(verdict)


def test_a_larger_delta_and_a_weaker_unit_are_refused() -> None:
    strict = PrivacyBudgetSpec(unit="Silo", epsilon="8.0", delta="1e-6")
    assert "delta" in weigh(strict, PrivacyBudgetStatus(), PLANS["1.0"]).why_not
    wanted = DifferentialPrivacy(unit="Record", epsilon="1.0", delta="1e-5", clip="1", sample_rate="0.1")
    with pytest.raises(UnitsDiffer):
        weigh(SPEC, PrivacyBudgetStatus(), resolve(wanted, 4, 1000))


def test_too_many_releases_for_one_object_are_refused() -> None:
    long = resolve(DifferentialPrivacy(unit="Silo", epsilon="1.0", delta="1e-5", clip="1", max_attempts=2), 1000, None)
    status = PrivacyBudgetStatus()
    big = SPEC.model_copy(update={"epsilon": "900"})
    for number in range(2):
        status = with_account(status, UID.format(number), account(long))
    assert "at most" in weigh(big, status, long).why_not


def test_people_see_spent_rounded_up_and_left_rounded_down() -> None:
    assert (shown(0.0), shown(2.4150001), shown(3.0000000001), shown(1e-9)) == ("0", "2.416", "3.000", "0.001")
    assert (shown_down(1.2398), shown_down(0.49996), shown_down(-1)) == ("1.239", "0.500", "0.000")
    assert epsilon(account_worst(account(PLANS["1.0"])), 1e-5) <= 1.0
