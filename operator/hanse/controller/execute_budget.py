"""Changes of PrivacyBudgets that a job's plan asks for: conditional writes over the version that was weighed.

Called by `execute`. What does not fit any more is told by the next visit, from the version that is put into the cache.
"""

from hanse.api import names
from hanse.api.budget import Closed, PrivacyBudgetSpec, PrivacyBudgetStatus
from hanse.controller import errors, kinds
from hanse.controller.cache import Cache
from hanse.controller.clock import Clock
from hanse.controller.door import Door
from hanse.controller.manifests.budget import build_owner_identity
from hanse.controller.parse import parse_model
from hanse.controller.reconcile.mirror import is_behind, read_mirror
from hanse.controller.reconcile.model import EnsureOwnerIdentity, Reserve, ReturnReservation
from hanse.controller.views import Meta, parse_meta
from hanse.dp.book import counted, weigh, with_account
from hanse.pki.identity import new_identity


class BudgetExecutor:
    """Acts for one operator process."""

    def __init__(self, door: Door, cache: Cache, clock: Clock, operator_namespace: str) -> None:
        self._door = door
        self._cache = cache
        self._clock = clock
        self._namespace = operator_namespace

    async def reserve(self, action: Reserve) -> None:
        """Put the account into the budget as it is now, if it fits.

        Raises:
            BudgetTaken: it does not fit any more.
            Conflict: somebody wrote in between, or the budget's copies know more than it.
        """
        meta, spec, status = await self._read(action.namespace, action.budget)
        if action.account_id in status.accounts:
            return
        if await self._is_behind(meta, status):
            raise _conflict(meta, "the budget has not taken back yet what its copies know")
        if not weigh(spec, status, action.account.plan).fits:
            text = "another job was first"
            raise errors.BudgetTaken(text, kind=meta.kind, namespace=meta.namespace, name=meta.name)
        await self._write(meta, counted(spec, with_account(status, action.account_id, action.account)))

    async def give_back(self, action: ReturnReservation) -> None:
        """Close an account that no gate has opened; its fold returns all of it.

        Raises:
            Conflict: somebody wrote in between.
        """
        meta, spec, status = await self._read(action.namespace, action.budget)
        account = status.accounts.get(action.account_id)
        if account is None or account.closed is not None or account.epoch or account.releases:
            return
        closed = account.model_copy(update={"closed": Closed(cause="LeaseOver", at=self._clock.now())})
        await self._write(meta, counted(spec, with_account(status, action.account_id, closed)))

    async def owner_identity(self, action: EnsureOwnerIdentity) -> None:
        """Made once: another key would leave the owner's old certificates without their signer."""
        await self._door.create(build_owner_identity(action.namespace, new_identity().private))

    async def _read(self, namespace: str, name: str) -> tuple[Meta, PrivacyBudgetSpec, PrivacyBudgetStatus]:
        raw = await self._door.get(kinds.PRIVACY_BUDGET, namespace, name)
        if raw is None:
            raise errors.Gone("not there", kind="PrivacyBudget", namespace=namespace, name=name)
        self._cache.put(raw)
        spec, invalid = parse_model(PrivacyBudgetSpec, raw.get("spec") or {})
        status, damaged = parse_model(PrivacyBudgetStatus, raw.get("status") or {})
        meta = parse_meta(raw)
        if spec is None or status is None:
            text = f"cannot be read: {invalid or damaged}"
            raise errors.Invalid(text, kind=meta.kind, namespace=namespace, name=name)
        return meta, spec, status

    async def _is_behind(self, meta: Meta, status: PrivacyBudgetStatus) -> bool:
        """Without a copy the budget's own visit has not been there: it makes the first one."""
        name = names.budget_operator_mirror_name(meta.namespace, meta.name)
        raw = await self._door.get(kinds.CONFIG_MAP, self._namespace, name)
        if raw is None:
            return True
        try:
            mirror = read_mirror(raw)
        except ValueError:
            return True
        return mirror.uid != meta.uid or is_behind(meta.uid, status, mirror)

    async def _write(self, meta: Meta, status: PrivacyBudgetStatus) -> None:
        wire = status.to_wire()
        answer = await self._door.replace_status(
            kinds.PRIVACY_BUDGET, meta.namespace, meta.name, meta.resource_version, wire
        )
        self._cache.put(answer)


def _conflict(meta: Meta, text: str) -> errors.Conflict:
    return errors.Conflict(text, kind=meta.kind, namespace=meta.namespace, name=meta.name)
