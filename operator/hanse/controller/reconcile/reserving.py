"""Before a job starts: the worst case of each participant is reserved in its owner's PrivacyBudget; all, or none.

Each visit looks at what the budgets hold. What is missing is reserved in one order, so that two jobs do not hold what
the other one wants; when one part does not fit, the others are returned and the job is refused with what is left.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hanse.api import names
from hanse.api.budget import Account, PrivacyBudgetStatus
from hanse.api.conditions import JobCondition, Reason
from hanse.api.job import FederatedJobSpec, FrozenImages, JobPrivacy
from hanse.api.participation import JobRef
from hanse.api.planhash import canonical_hash
from hanse.controller.reconcile.asked import participation_plan
from hanse.controller.reconcile.budget import LEASE
from hanse.controller.reconcile.draft import Draft
from hanse.controller.reconcile.model import BudgetLookup, Reserve, ReturnReservation
from hanse.dp.book import weigh, with_account
from hanse.dp.errors import UnitsDiffer

#: Copies of a budget are written a moment after it.
COVER_SECONDS = 0.5
RETRY_SECONDS = 5.0


@dataclass(frozen=True)
class _Part:
    participant: str
    namespace: str
    budget: str
    account_id: str
    account: Account

    @property
    def place(self) -> tuple[str, str]:
        return self.namespace, self.budget


def reserve(draft: Draft, spec: FederatedJobSpec, images: FrozenImages, privacy: JobPrivacy | None) -> bool:
    """Whether the job may start: every part is reserved, and known to the budgets' copies."""
    if privacy is None or privacy.plan is None:
        return True
    parts = sorted(_parts(draft, spec, images, privacy), key=lambda p: (p.place, p.account_id))
    budgets = draft.observed.budgets
    stale = [p for p in parts if (held := _held(budgets, p)) is not None and held.plan_hash != p.account.plan_hash]
    missing = [p for p in parts if _held(budgets, p) is None]
    refused = _does_not_fit(draft, missing)
    if refused is not None:
        _refuse(draft, *refused)
        _give_back(draft, [p for p in parts if p not in missing])
        return False
    if stale:
        _give_back(draft, stale)
        return _wait(draft, 0.0)
    if any(held.closed is not None for p in parts if (held := _held(budgets, p)) is not None):
        return _wait(draft, COVER_SECONDS)  # given back before, and not folded yet: under it nothing is paid
    if missing:
        draft.actions += [Reserve(*p.place, p.account_id, p.account) for p in missing]
        return _wait(draft, 0.0)
    if not all(budgets[p.place].covered for p in parts):
        return _wait(draft, COVER_SECONDS)
    return True


def release(draft: Draft, spec: FederatedJobSpec) -> None:
    """Return what a job that is refused now has reserved before."""
    for member in spec.participants:
        account_id = names.account_id(draft.observed.meta.uid, member.name)
        for (namespace, budget), lookup in draft.observed.budgets.items():
            account = lookup.status.accounts.get(account_id)
            if namespace == member.participant_ref.namespace and account is not None and account.closed is None:
                draft.actions.append(ReturnReservation(namespace, budget, account_id))


def _parts(draft: Draft, spec: FederatedJobSpec, images: FrozenImages, privacy: JobPrivacy) -> Iterator[_Part]:
    meta = draft.observed.meta
    for index, member in enumerate(spec.participants):
        charged = privacy.plan_of(member.name)
        assert charged is not None  # else nothing is reserved
        plan = participation_plan(meta, spec, member, index, images, privacy)
        account = Account(
            job=JobRef(namespace=meta.namespace, name=meta.name, uid=meta.uid),
            participation=names.participation_name(meta.name, member.name, meta.uid),
            plan_hash=canonical_hash(plan.to_wire()),
            plan=charged,
            lease_until=(draft.now + LEASE).replace(microsecond=0),
        )
        yield _Part(
            participant=member.name,
            namespace=member.participant_ref.namespace,
            budget=privacy.owners[member.name].population,
            account_id=names.account_id(meta.uid, member.name),
            account=account,
        )


def _held(budgets: Mapping[tuple[str, str], BudgetLookup], part: _Part) -> Account | None:
    lookup = budgets.get(part.place)
    return lookup.status.accounts.get(part.account_id) if lookup is not None else None


def _does_not_fit(draft: Draft, missing: list[_Part]) -> tuple[Reason, str] | None:
    """Parts of one budget are weighed together."""
    states: dict[tuple[str, str], PrivacyBudgetStatus] = {}
    for part in missing:
        lookup = draft.observed.budgets.get(part.place)
        where = f"participant {part.participant!r}: PrivacyBudget {part.namespace}/{part.budget}"
        if lookup is None or lookup.spec is None:
            return Reason.BUDGET_NOT_FOUND, f"{where} is not there: its owner creates it"
        status = states.get(part.place, lookup.status)
        try:
            verdict = weigh(lookup.spec, status, part.account.plan)
        except UnitsDiffer as error:
            return Reason.UNIT_NOT_ALLOWED, f"{where}: {error}"
        if not verdict.fits:
            text = f"{where}: {verdict.why_not or verdict}: lower spec.privacy.differentialPrivacy.epsilon, or wait"
            return Reason.BUDGET_EXCEEDED, text
        states[part.place] = with_account(status, part.account_id, part.account)
    return None


def _refuse(draft: Draft, reason: Reason, message: str) -> None:
    draft.conditions.set(JobCondition.ACCEPTED, "False", reason, message)
    draft.conditions.set(JobCondition.SUSPENDED, "False", Reason.NOT_SUSPENDED, "the job has not started")
    draft.wake(RETRY_SECONDS)


def _give_back(draft: Draft, parts: list[_Part]) -> None:
    for part in parts:
        held = _held(draft.observed.budgets, part)
        if held is not None and held.closed is None:
            draft.actions.append(ReturnReservation(*part.place, part.account_id))


def _wait(draft: Draft, seconds: float) -> bool:
    text = "the owners' privacy budgets are being reserved"
    draft.conditions.set(JobCondition.ACCEPTED, "Unknown", Reason.PENDING, text)
    draft.wake(seconds)
    return False
