"""The plan for a PrivacyBudget: nothing forgotten, leases renewed, ended accounts folded, the numbers. By the engine.

The order of a fold: the account is closed (by its gate, signed, or here when its lease is over), its page is written
(immutable, named by its hash), then the account leaves the status and its releases stay in `folded`. After `closed` no
gate can charge it, so nothing is lost between the steps, and a step that is made twice changes nothing.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from hanse.api import names
from hanse.api.budget import Account, Closed, PrivacyBudgetStatus
from hanse.api.closing import statement
from hanse.api.conditions import BudgetCondition, Reason
from hanse.controller.manifests import budget as manifests
from hanse.controller.reconcile.conditions import ConditionSet
from hanse.controller.reconcile.mirror import is_behind, mirror_of, restored, with_foreign
from hanse.controller.reconcile.model import Action, Apply, Create, Mirror, ObservedBudget, Plan
from hanse.dp.book import counted, with_account, without_account
from hanse.pki.identity import verifies

#: How long a gate may work without the operator; also how long a lost gate's reservation is held.
LEASE: Final = timedelta(minutes=10)
#: A gate's clock may be behind ours. What leaves is fenced by the account's end in any case.
MARGIN: Final = timedelta(seconds=60)
#: A closed account stays so long: its Participation shows the last numbers.
SHOW: Final = timedelta(seconds=2)


@dataclass
class _Draft:
    observed: ObservedBudget
    now: datetime
    status: PrivacyBudgetStatus
    actions: list[Action] = field(default_factory=list)
    after: float | None = None

    def wake(self, at: datetime) -> None:
        """Look again then."""
        seconds = max(0.0, (at - self.now).total_seconds())
        self.after = seconds if self.after is None else min(self.after, seconds)


def plan(observed: ObservedBudget, now: datetime) -> Plan:
    """What to do about a PrivacyBudget, now."""
    if observed.meta.deleting or observed.unreadable:
        return Plan(observed.status)
    generation = observed.meta.generation
    conditions = ConditionSet(observed.status.conditions, BudgetCondition, generation, now)
    draft = _Draft(observed, now, observed.status)
    if observed.spec is None:
        conditions.set(BudgetCondition.READY, "False", Reason.INVALID_SPEC, observed.spec_error)
    elif observed.damaged:
        conditions.set(BudgetCondition.READY, "False", Reason.BUDGET_DAMAGED, observed.damaged)
    elif _counted_per_record(observed):
        text = "its predecessor spent per record, which is no loss per silo: create it with unit Record"
        conditions.set(BudgetCondition.READY, "False", Reason.INVALID_SPEC, text)
    else:
        behind = _remember(draft)
        draft.status = with_foreign(draft.status, observed.foreign)
        if not behind:
            for name, account in list(draft.status.accounts.items()):
                _account(draft, name, account)
        draft.status = counted(observed.spec, draft.status)
        text = f"left is epsilon {draft.status.left} at delta {observed.spec.delta}"
        conditions.set(BudgetCondition.READY, "True", Reason.AS_EXPECTED, text)
    update = {"conditions": conditions.all(), "observed_generation": generation}
    return Plan(draft.status.model_copy(update=update), tuple(draft.actions), after=draft.after)


def _counted_per_record(observed: ObservedBudget) -> bool:
    """Whether a budget of unit Silo was made anew in the place of one of unit Record, which hides less."""
    known = [m for m in observed.mirrors if m is not None]
    return (
        observed.spec is not None
        and observed.spec.unit == "Silo"
        and any(m.unit == "Record" and max(m.worst) > 0 for m in known)
    )


def _remember(draft: _Draft) -> bool:
    """Take back what a copy knows and the budget does not; else bring the copies up to date. Whether it was behind."""
    observed, uid = draft.observed, draft.observed.meta.uid
    behind = [m for m in observed.mirrors if m is not None and is_behind(uid, observed.status, m)]
    for known in behind:
        draft.status = restored(draft.status, known)
    if behind:
        return True
    unit = observed.spec.unit if observed.spec is not None else ""
    wanted = mirror_of(uid, observed.status, unit)
    places = (
        (observed.meta.namespace, names.budget_mirror_name(observed.meta.name)),
        (
            observed.operator_namespace,
            names.budget_operator_mirror_name(observed.meta.namespace, observed.meta.name),
        ),
    )
    for mirror, (namespace, name) in zip(observed.mirrors, places, strict=True):
        if mirror is None or not _same(mirror, wanted):
            version = mirror.resource_version if mirror is not None else ""
            draft.actions.append(Apply(manifests.build_mirror(observed.meta, namespace, name, wanted, version)))
    return False


def _same(mirror: Mirror, wanted: Mirror) -> bool:
    """Entries alone need no write: the worst case holds them already."""
    return (mirror.unit, mirror.uid, mirror.pages, mirror.folded, mirror.worst, dict(mirror.datasets)) == (
        wanted.unit,
        wanted.uid,
        wanted.pages,
        wanted.folded,
        wanted.worst,
        dict(wanted.datasets),
    )


def _account(draft: _Draft, name: str, account: Account) -> None:
    over = account.lease_until + MARGIN
    if account.closed is not None:
        signed = _signed(draft.observed, name, account)
        shown = account.closed.at + SHOW if signed else over
        if account.closed.cause == "LeaseOver" or draft.now >= min(shown, over):
            _fold(draft, name, account)
        else:
            draft.wake(min(shown, over))
    elif name in draft.observed.alive:
        _renew(draft, name, account)
    elif draft.now >= over or (name in draft.observed.over and _never_opened(account)):
        closed = Closed(cause="LeaseOver", at=draft.now)
        draft.status = with_account(draft.status, name, account.model_copy(update={"closed": closed}))
        draft.after = 0.0
    else:
        draft.wake(over)


def _renew(draft: _Draft, name: str, account: Account) -> None:
    due = account.lease_until - LEASE / 2
    if draft.now >= due:
        until = (draft.now + LEASE).replace(microsecond=0)
        draft.status = with_account(draft.status, name, account.model_copy(update={"lease_until": until}))
        due = until - LEASE / 2
    draft.wake(due)


def _fold(draft: _Draft, name: str, account: Account) -> None:
    stored = draft.observed.status.accounts.get(name)
    if stored is None or stored.closed is None:
        draft.after = 0.0  # on the visit that has read `closed` back
        return
    digest, page = manifests.build_page(draft.observed.meta, draft.status, name, account)
    draft.actions.append(Create(page))
    draft.status = without_account(draft.status, name, digest)


def _signed(observed: ObservedBudget, name: str, account: Account) -> bool:
    signature = account.closed.signature if account.closed is not None else None
    if observed.identity is None or signature is None:
        return False
    return verifies(observed.identity, signature, statement(name, account))


def _never_opened(account: Account) -> bool:
    return account.epoch == 0 and not account.releases
