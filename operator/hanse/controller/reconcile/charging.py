"""What a participation costs its owner: whether its budget pays (BudgetReserved), and how much it has paid so far."""

from hanse.api import names
from hanse.api.budget import Account
from hanse.api.conditions import ParticipationCondition, Reason
from hanse.api.job import AdversaryEpsilon
from hanse.api.participation import ParticipationEpsilon
from hanse.api.privacy import Slot
from hanse.controller.reconcile.conditions import ConditionSet
from hanse.controller.reconcile.model import ObservedParticipation
from hanse.dp.book import account_spent, account_worst, shown
from hanse.dp.plan import epsilons as against
from hanse.dp.rdp import epsilon


def check(conditions: ConditionSet, observed: ObservedParticipation) -> bool:
    """Set BudgetReserved; whether a client may start. One that runs is not stopped: its gate asks the ledger itself."""
    plan = observed.spec.plan
    if plan.privacy is None:
        text = "nothing is charged: the job has no differential privacy"
        conditions.set(ParticipationCondition.BUDGET_RESERVED, "True", Reason.AS_EXPECTED, text)
        return True
    account = account_of(observed)
    if observed.client_job is not None and (account is None or account.closed is not None):
        # Its gate has closed the account, and the client is about to end.
        return False
    where = f"PrivacyBudget {plan.population}"
    if account is not None and account.plan_hash == observed.spec.plan_hash and account.plan == plan.privacy:
        if account.closed is None:
            text = f"{where} holds {_held(account)}"
            conditions.set(ParticipationCondition.BUDGET_RESERVED, "True", Reason.BUDGET_RESERVED, text)
            return True
        text = f"{where}: the account is closed ({account.closed.cause}): nothing more can be released"
    elif account is not None:
        text = f"{where} was reserved for another plan ({account.plan_hash}): delete the job and create it anew"
    else:
        text = f"{where} has no account for it: it was folded, or the budget was deleted; create the job anew"
    conditions.set(ParticipationCondition.BUDGET_RESERVED, "False", Reason.BUDGET_NOT_RESERVED, text)
    return False


def _held(account: Account) -> str:
    """What is reserved, as its owner counts it: with distributed noise that may be more than the job's epsilon."""
    plan = account.plan
    worst = shown(epsilon(account_worst(account), float(plan.delta)))
    return f"epsilon {worst} against {plan.adversary} (delta {plan.delta}, {plan.unit})"


def account_of(observed: ObservedParticipation) -> Account | None:
    """Its account, while it is open or not yet folded."""
    if observed.budget is None:
        return None
    account_id = names.account_id(observed.spec.job_ref.uid, observed.spec.plan.participant)
    return observed.budget.status.accounts.get(account_id)


def epsilons(observed: ObservedParticipation) -> ParticipationEpsilon | None:
    """What is reserved and spent, at the budget's delta; the last known numbers once the account is folded."""
    account, known = account_of(observed), observed.status.epsilon
    if account is None or observed.budget is None or observed.budget.spec is None:
        return known
    delta = float(observed.budget.spec.delta)
    spent = shown(epsilon(account_spent(account), delta))
    worst = shown(epsilon(account_worst(account), delta))
    return ParticipationEpsilon(reserved=worst, spent=spent, against=_against(account))


def _against(account: Account) -> list[AdversaryEpsilon]:
    """What was released, against each adversary, at the job's own delta: that of the epsilon that it asked for."""
    made = against(account.plan, [Slot.parse(key) for key in account.releases])
    return [AdversaryEpsilon(adversary=adversary, spent=shown(value)) for adversary, value in made.items()]
