"""Gathers what a budget's plan depends on: the PrivacyBudget, its copies, and which of its accounts' jobs live.

Called by `observe` for jobs and Participations, by the engine for PrivacyBudgets.
"""

import contextlib

from hanse.api import names
from hanse.api.budget import Account, PrivacyBudgetSpec, PrivacyBudgetStatus
from hanse.api.job import FederatedJobStatus
from hanse.api.participation import JobRef
from hanse.controller import errors, kinds
from hanse.controller.cache import Cache
from hanse.controller.door import Door
from hanse.controller.log import get_logger
from hanse.controller.parse import decode, parse_model, parse_status
from hanse.controller.reconcile.conditions import holds
from hanse.controller.reconcile.mirror import covers, read_mirror
from hanse.controller.reconcile.model import BudgetLookup, Mirror, ObservedBudget
from hanse.controller.views import Custom, parse_meta
from hanse.pki.identity import identity_public_key

_log = get_logger(__name__)


class BudgetObserver:
    """Reads for one operator process."""

    def __init__(self, cache: Cache, door: Door, operator_namespace: str) -> None:
        self._cache = cache
        self._door = door
        self._namespace = operator_namespace

    async def lookup(self, namespace: str, name: str, *, live: bool = False) -> BudgetLookup:
        """A PrivacyBudget that is to be charged; `live`: with what the operator's own copy says."""
        view = self._cache.custom(kinds.PRIVACY_BUDGET, namespace, name)
        if view is None:
            return BudgetLookup()
        spec, invalid = parse_model(PrivacyBudgetSpec, view.spec)
        status, damaged = parse_model(PrivacyBudgetStatus, view.status)
        if spec is None or status is None:
            return BudgetLookup(meta=view.meta, invalid=invalid or damaged)
        covered = False
        if live:
            mirror, _ = await self._mirror(self._namespace, names.budget_operator_mirror_name(namespace, name))
            covered = covers(mirror, view.meta.uid, status)
        return BudgetLookup(meta=view.meta, spec=spec, status=status, covered=covered)

    async def budget(self, view: Custom) -> ObservedBudget:
        """Everything about a PrivacyBudget."""
        meta = view.meta
        spec, invalid = parse_model(PrivacyBudgetSpec, view.spec)
        status, damaged = parse_model(PrivacyBudgetStatus, view.status)
        own, own_problem = await self._mirror(meta.namespace, names.budget_mirror_name(meta.name))
        theirs, problem = await self._mirror(
            self._namespace, names.budget_operator_mirror_name(meta.namespace, meta.name)
        )
        if own_problem and theirs is not None:
            own_problem = ""  # the owner's to break: ours knows it all
        if damaged:
            _log.error("a PrivacyBudget's status cannot be read: it is left as it is", error=damaged)
        status = status or PrivacyBudgetStatus()
        signed = any(a.closed is not None and a.closed.signature is not None for a in status.accounts.values())
        fates = {name: await self._fate(meta.namespace, account) for name, account in status.accounts.items()}
        return ObservedBudget(
            meta=meta,
            spec=spec,
            status=status,
            spec_error=invalid,
            mirrors=(own, theirs),
            foreign=await self._foreign(meta.namespace, meta.name),
            damaged=problem or own_problem,
            unreadable=damaged,
            operator_namespace=self._namespace,
            alive=frozenset(name for name, fate in fates.items() if fate == "lives"),
            over=frozenset(name for name, fate in fates.items() if fate == "over"),
            identity=await self._identity(meta.namespace) if signed else None,
        )

    async def _foreign(self, namespace: str, budget: str) -> dict[str, Mirror]:
        """Copies of the owner's other budgets, from our own namespace."""
        found = {}
        prefix = names.budget_operator_mirror_name(namespace, "")
        for raw in await self._door.list(kinds.CONFIG_MAP, self._namespace):
            name = str(raw["metadata"]["name"])
            if name.startswith(prefix) and name != prefix + budget:
                with contextlib.suppress(ValueError):  # its own visit tells of it
                    found[name.removeprefix(prefix)] = read_mirror(raw)
        return found

    async def _mirror(self, namespace: str, name: str) -> tuple[Mirror | None, str]:
        raw = await self._door.get(kinds.CONFIG_MAP, namespace, name)
        if raw is None:
            return None, ""
        try:
            return read_mirror(raw), ""
        except ValueError as error:
            return None, f"ConfigMap {namespace}/{name} cannot be read: {error}"

    async def _fate(self, namespace: str, account: Account) -> str:
        """`lives`: its gates may still release something. `over`: they need not. Empty: not to be told now."""
        reference = account.job
        job = self._cache.custom(kinds.FEDERATED_JOB, reference.namespace, reference.name)
        if job is None or job.meta.uid != reference.uid:
            return await self._ask(reference)
        status = parse_status(FederatedJobStatus, job.status)
        if job.meta.deleting or holds(status.conditions, "Complete") or holds(status.conditions, "Failed"):
            return "over"
        if status.start_time is None:
            return "lives"
        # Made a moment after the start; one that its owner has deleted is not renewed.
        return "lives" if self._cache.custom(kinds.PARTICIPATION, namespace, account.participation) is not None else ""

    async def _ask(self, reference: JobRef) -> str:
        """The cache lags; only the API server says that a job is gone."""
        try:
            raw = await self._door.get(kinds.FEDERATED_JOB, reference.namespace, reference.name)
        except errors.Denied:
            return ""
        return "over" if raw is None or parse_meta(raw).uid != reference.uid else ""

    async def _identity(self, namespace: str) -> str | None:
        try:
            raw = await self._door.get(kinds.SECRET, namespace, names.OWNER_IDENTITY)
            return identity_public_key(decode(raw, names.IDENTITY_FILE)) if raw is not None else None
        except (errors.Denied, ValueError):
            return None  # then the lease decides

    async def owner_identity(self, namespace: str) -> str | None:
        """Public half of the owner's identity key, PEM."""
        return await self._identity(namespace)
