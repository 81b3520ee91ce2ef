"""One visit to one object: observe, plan, act, write status once, tell. Called by the queue's workers for each key."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from hanse.api.conditions import Reason
from hanse.api.meta import clip_message
from hanse.controller import errors, kinds
from hanse.controller.cache import Cache
from hanse.controller.clock import Clock
from hanse.controller.door import Door
from hanse.controller.events import Recorder
from hanse.controller.execute import Executor
from hanse.controller.kinds import Kind
from hanse.controller.log import get_logger
from hanse.controller.metrics import Metrics
from hanse.controller.observe import Observer
from hanse.controller.parse import parse_status
from hanse.controller.progress.store import ProgressStore
from hanse.controller.queue import Key, WorkQueue
from hanse.controller.reconcile import budget as budget_plan
from hanse.controller.reconcile import job as job_plan
from hanse.controller.reconcile import participant as participant_plan
from hanse.controller.reconcile import participation as participation_plan
from hanse.controller.reconcile.acceptance import permission_hint
from hanse.controller.reconcile.model import Plan, Problem
from hanse.controller.views import Custom

SWEEP: Final = Key("Sweep")
DENIED_SECONDS: Final = 5.0
_log = get_logger(__name__)


class Engine:
    """Wires the parts together; holds nothing but each key's last problem."""

    def __init__(
        self,
        *,
        cache: Cache,
        door: Door,
        queue: WorkQueue,
        clock: Clock,
        observer: Observer,
        executor: Executor,
        recorder: Recorder,
        metrics: Metrics,
        progress: ProgressStore,
        sweep: Callable[[], Awaitable[None]],
    ) -> None:
        self._cache = cache
        self._door = door
        self._queue = queue
        self._clock = clock
        self._observer = observer
        self._executor = executor
        self._recorder = recorder
        self._metrics = metrics
        self._progress = progress
        self._sweep = sweep
        self._problems: dict[Key, Problem] = {}

    async def run(self, key: Key) -> bool:
        """One visit; False when it has to be repeated."""
        started = time.perf_counter()
        structlog.contextvars.bind_contextvars(kind=key.kind, namespace=key.namespace, name=key.name)
        try:
            await self._visit(key)
        except errors.Conflict:
            # Somebody wrote in between; the watch brings what they wrote.
            self._queue.add(key, 0.2)
        except errors.ApiProblem as error:
            _log.warning("visit failed", error=str(error), error_type=type(error).__name__)
            self._metrics.failed(key.kind)
            return False
        except Exception:  # noqa: BLE001 - a bug in one object's plan must not stop the others
            _log.exception("visit crashed")
            self._metrics.failed(key.kind)
            return False
        finally:
            self._metrics.visited(key.kind, time.perf_counter() - started)
            structlog.contextvars.clear_contextvars()
        return True

    async def _visit(self, key: Key) -> None:
        if key == SWEEP:
            await self._sweep()
            self._observer.keep({job.meta.uid for job in self._cache.customs(kinds.FEDERATED_JOB)})
            return
        kind = kinds.BY_NAME[key.kind]
        view = self._cache.custom(kind, key.namespace, key.name)
        if view is None:
            self._problems.pop(key, None)
            return
        plan = await self._plan(key, view)
        if plan is None:
            return
        if kind == kinds.FEDERATED_JOB:
            self._progress.set_lost(view.meta.uid, plan.lost)
        failed = await self._act(key, plan)
        # A ledger's page comes before the account that it holds leaves the budget.
        if failed is None or kind != kinds.PRIVACY_BUDGET:
            await self._write(kind, view, plan)
        if isinstance(failed, errors.Denied):
            # Somebody else's to repair, and in status already: no reason to wait longer each time.
            self._queue.add(key, DENIED_SECONDS)
        elif failed is not None:
            raise failed
        if plan.after is not None:
            self._queue.add(key, plan.after)

    async def _plan(self, key: Key, view: Custom) -> Plan | None:
        problem = self._problems.get(key)
        now = self._clock.now()
        match key.kind:
            case kinds.FEDERATED_JOB.kind:
                return job_plan.plan(await self._observer.job(view, problem), now)
            case kinds.PARTICIPATION.kind:
                observed = await self._observer.participation(view, problem)
                return participation_plan.plan(observed, now) if observed is not None else None
            case kinds.PRIVACY_BUDGET.kind:
                return budget_plan.plan(await self._observer.budget(view), now)
            case _:
                return participant_plan.plan(await self._observer.participant(view), now)

    async def _act(self, key: Key, plan: Plan) -> errors.ApiProblem | None:
        """All actions in order; one that fails is told by the next visit's status.

        It ends the rest of them, but a namespace that is closed to us only ends what is meant for it.
        """
        first: errors.ApiProblem | None = None
        closed: set[str] = set()
        for action in plan.actions:
            if action.namespace in closed:
                continue
            try:
                await self._executor.run(action)
            except errors.ApiProblem as error:
                first = first or error
                if not isinstance(error, errors.Denied):
                    break
                closed.add(action.namespace)
        if first is not None and self._problems.get(key) != _problem(first):
            self._problems[key] = _problem(first)
            self._queue.add(key)
        elif first is None and self._problems.pop(key, None) is not None and not plan.actions:
            # It was done after all, or is wanted no more: no event will come of it, so look again without it.
            self._queue.add(key)
        return first

    async def _write(self, kind: Kind, view: Custom, plan: Plan) -> None:
        status = plan.status.to_wire()
        stored = parse_status(type(plan.status), view.status).to_wire()
        if (view.status and status == stored) or view.meta.deleting:
            return
        meta = view.meta
        # A budget has two writers, so an apply would not remove what the other one wrote.
        write = self._door.replace_status if kind == kinds.PRIVACY_BUDGET else self._door.apply_status
        try:
            answer = await write(kind, meta.namespace, meta.name, meta.resource_version, status)
        except errors.Gone:
            return
        self._cache.put(answer)
        for note in plan.notes:
            await self._recorder.record(kind, meta, note)


def _problem(error: errors.ApiProblem) -> Problem:
    if isinstance(error, errors.Denied):
        reason = Reason.NAMESPACE_NOT_FOUND if "not found" in str(error) else Reason.PERMISSION_DENIED
        text = f"{permission_hint(error.namespace)} ({error})" if error.namespace else str(error)
        return Problem(reason, clip_message(text), error.namespace)
    if isinstance(error, errors.NotAsked):
        return Problem(Reason.NAMESPACE_NOT_ALLOWED, clip_message(str(error)), error.namespace)
    if isinstance(error, errors.Taken | errors.AuthorityLost):
        reason = Reason.NAME_TAKEN if isinstance(error, errors.Taken) else Reason.AUTHORITY_LOST
        return Problem(reason, clip_message(str(error)), error.namespace)
    text = f"{error.kind} {error.namespace}/{error.name}: {error}"
    return Problem(Reason.INTERNAL_ERROR, clip_message(text), error.namespace)
