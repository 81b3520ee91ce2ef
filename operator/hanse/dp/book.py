"""A PrivacyBudget as arithmetic: what fits, what was spent, what an ended account leaves behind. Pure functions.

Called by the operator's reservation and ledger (`controller.budgets`) and by `hanse run`'s (`runtime.ledger.admin`).
All sums are RDP vectors; there is one conversion to epsilon, at the budget's delta. Every vector that is stored is
rounded up.
"""

from dataclasses import dataclass

from hanse.api.budget import (
    MAX_ACCOUNTS,
    MAX_RELEASES,
    Account,
    Loss,
    PrivacyBudgetSpec,
    PrivacyBudgetStatus,
    decimal_up,
)
from hanse.api.privacy import PrivacyPlan, Slot
from hanse.dp.calibrate import left_epsilon
from hanse.dp.plan import check_units, plan_rdp, spent_rdp
from hanse.dp.rdp import ZERO, Rdp, compose, epsilon, parse


@dataclass(frozen=True)
class Verdict:
    """Whether a plan fits into what is left, and the numbers for whom it does not: epsilons at the budget's delta."""

    fits: bool
    asked: float
    spent: float
    reserved: float
    left: float
    limit: float
    why_not: str = ""

    def __str__(self) -> str:
        return (
            f"asks for epsilon {self.asked:.3g}, left is {float(shown_down(self.left)):.3g} of {self.limit:.3g} "
            f"(spent {self.spent:.3g}, reserved {self.reserved:.3g})"
        )


def folded_rdp(status: PrivacyBudgetStatus) -> Rdp:
    """Of the accounts that have left for the pages."""
    return parse(status.folded) if status.folded is not None else ZERO


def account_spent(account: Account) -> Rdp:
    """Of what an account has released."""
    return spent_rdp(account.plan, map(Slot.parse, account.releases))


def account_worst(account: Account) -> Rdp:
    """Of all that an account may release."""
    return plan_rdp(account.plan)


def total_spent(status: PrivacyBudgetStatus) -> Rdp:
    """Of all that was ever released."""
    return compose(folded_rdp(status), *map(account_spent, status.accounts.values()))


def total_worst(status: PrivacyBudgetStatus) -> Rdp:
    """Of all that was released or may be: lowered by nothing but folding an account."""
    return compose(folded_rdp(status), *map(account_worst, status.accounts.values()))


def weigh(spec: PrivacyBudgetSpec, status: PrivacyBudgetStatus, plan: PrivacyPlan) -> Verdict:
    """Whether the worst case of a plan fits beside everything else.

    Raises:
        UnitsDiffer: a budget of this unit cannot be charged for such a job.
    """
    check_units(plan.unit, spec.unit)
    delta, limit = float(spec.delta), float(spec.epsilon)
    held, asked = total_worst(status), plan_rdp(plan)
    why = _no_room(status, plan)
    if not why and float(plan.delta) > delta:
        why = f"its delta {plan.delta} is larger than the budget's {spec.delta}"
    return Verdict(
        fits=not why and epsilon(compose(held, asked), delta) <= limit,
        asked=epsilon(asked, delta),
        spent=epsilon(total_spent(status), delta),
        reserved=epsilon(_open_worst(status), delta),
        left=left_epsilon(held, limit, delta),
        limit=limit,
        why_not=why,
    )


def _open_worst(status: PrivacyBudgetStatus) -> Rdp:
    rest = (_minus(account_worst(a), account_spent(a)) for a in status.accounts.values())
    return compose(*rest)


def _minus(whole: Rdp, part: Rdp) -> Rdp:
    return tuple(max(0.0, a - b) for a, b in zip(whole, part, strict=True))


def _no_room(status: PrivacyBudgetStatus, plan: PrivacyPlan) -> str:
    """The object itself is bounded (etcd): all slots of open accounts must fit into it."""
    slots = len(plan.slots()) + sum(len(a.plan.slots()) for a in status.accounts.values())
    if slots > MAX_RELEASES:
        return f"its releases and those of open accounts are {slots}: at most {MAX_RELEASES} fit"
    if len(status.accounts) >= MAX_ACCOUNTS:
        return f"{MAX_ACCOUNTS} accounts are open: wait until one closes"
    return ""


def with_account(status: PrivacyBudgetStatus, name: str, account: Account) -> PrivacyBudgetStatus:
    """The status with one more account, or one that has changed."""
    return _replaced(status, accounts={**status.accounts, name: account})


def without_account(status: PrivacyBudgetStatus, name: str, page: str) -> PrivacyBudgetStatus:
    """The status after a closed account has gone to `page` (its hash): its releases are spent, the rest is returned.

    Raises:
        KeyError: there is no such account.
        ValueError: it is not closed.
    """
    account = status.accounts[name]
    if account.closed is None:
        raise ValueError(f"account {name} is open")
    spent = compose(folded_rdp(status), account_spent(account))
    return _replaced(
        status,
        folded=stored(spent, at_least=status.folded),
        accounts={key: kept for key, kept in status.accounts.items() if key != name},
        pages=status.pages + 1,
        chain_head=page,
    )


def counted(spec: PrivacyBudgetSpec, status: PrivacyBudgetStatus, released: int = 0) -> PrivacyBudgetStatus:
    """The status with its numbers: spent, reserved, left. `released`: entries that have left for the pages."""
    delta, limit = float(spec.delta), float(spec.epsilon)
    spent, rest = total_spent(status), _open_worst(status)
    return _replaced(
        status,
        folded=status.folded if status.folded is not None else stored(ZERO),
        spent=Loss(
            rdp=stored(spent, at_least=status.spent.rdp if status.spent is not None else None),
            epsilon=shown(epsilon(spent, delta)),
        ),
        reserved=Loss(rdp=stored(rest), epsilon=shown(epsilon(rest, delta))),
        left=shown_down(left_epsilon(total_worst(status), limit, delta)),
        entries=max(status.entries, released + sum(len(a.releases) for a in status.accounts.values())),
    )


def stored(loss: Rdp, at_least: list[str] | None = None) -> list[str]:
    """A vector as a ledger keeps it: rounded up, and order by order never below what is there."""
    made = [decimal_up(value) for value in loss]
    if at_least is None:
        return made
    return [old if float(old) >= float(new) else new for old, new in zip(at_least, made, strict=True)]


def shown(value: float) -> str:
    """An epsilon for people, rounded up in its third digit after the point; exact zero is 0."""
    return "0" if value == 0 else f"{_ceil(value):.3f}"


def shown_down(value: float) -> str:
    """What is left, rounded down; the bisection that found it may have stopped 1e-4 below."""
    return f"{int(max(0.0, value) * 1000 + 0.1) / 1000:.3f}"


def _ceil(value: float) -> float:
    scaled = value * 1000 - 1e-6  # 3.0 found by bisection is 2.9999999 or 3.0000001
    whole = int(scaled)
    return (whole + (scaled > whole)) / 1000


def _replaced(status: PrivacyBudgetStatus, **update: object) -> PrivacyBudgetStatus:
    made: PrivacyBudgetStatus = status.model_copy(update=update)
    return made
