"""Our own lists, now and then: they replace the cache, since a broken watch does not tell what was deleted meanwhile.

Run by `main`; also opens namespaces, and asks for a sweep each time.
"""

import asyncio
from collections.abc import Awaitable, Callable

from hanse.controller import dispatch, errors, kinds
from hanse.controller.cache import Cache
from hanse.controller.clock import Clock
from hanse.controller.door import Door
from hanse.controller.engine import SWEEP
from hanse.controller.log import get_logger
from hanse.controller.metrics import Metrics
from hanse.controller.namespaces import Namespaces
from hanse.controller.queue import WorkQueue

#: How often a namespace that is closed to us is tried again.
KNOCK_SECONDS = 3.0
_log = get_logger(__name__)


class Resync:
    """Lists every kind in every wanted namespace."""

    def __init__(
        self,
        *,
        door: Door,
        cache: Cache,
        queue: WorkQueue,
        clock: Clock,
        namespaces: Namespaces,
        metrics: Metrics,
        opened: Callable[[str | None], Awaitable[None]],
    ) -> None:
        self._door = door
        self._cache = cache
        self._queue = queue
        self._clock = clock
        self._namespaces = namespaces
        self._metrics = metrics
        self._opened = opened
        self._refused: set[str | None] = set()
        self.last = clock.monotonic()

    async def everything(self) -> bool:
        """One resync; False when the API server could not be asked. Closed namespaces are no failure."""
        complete = True
        for namespace in self._namespaces.wanted():
            complete &= await self._namespace(namespace)
        self._metrics.resynced(complete=complete)
        if complete:
            self.last = self._clock.monotonic()
            self._queue.add(SWEEP)
        return complete

    async def knock(self) -> None:
        """Try the namespaces that are closed to us."""
        for namespace in self._namespaces.closed():
            await self._namespace(namespace)

    async def _namespace(self, namespace: str | None) -> bool:
        try:
            for kind in kinds.WATCHED:
                before = self._cache.known(kind, namespace)
                found = await self._door.list(kind, namespace)
                self._cache.replace(kind, found, before)
                for raw in found:
                    self._queue_all(raw)
        except errors.Denied as error:
            if namespace not in self._refused:
                self._refused.add(namespace)
                _log.warning("namespace is closed to the operator", served=namespace, error=str(error))
            return True
        except errors.ApiProblem as error:
            _log.warning("list failed", served=namespace, error=str(error))
            return False
        self._refused.discard(namespace)
        if namespace not in self._namespaces.granted:
            self._namespaces.granted.add(namespace)
            await self._opened(namespace)
        return True

    def _queue_all(self, raw: dict[str, object]) -> None:
        key = dispatch.own_key(raw)
        if key is not None:
            self._queue.add(key)

    async def run(self, seconds: float) -> None:
        """For ever: knock often, list everything every so many seconds."""
        while True:
            due = self.last + seconds
            while self._clock.monotonic() < due:
                await asyncio.sleep(min(KNOCK_SECONDS, max(0.1, due - self._clock.monotonic())))
                await self.knock()
            if not await self.everything():
                await asyncio.sleep(1)
