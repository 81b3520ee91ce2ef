"""The work queue: one reconcile in flight for each key, nothing lost, back-off after errors.

Fed by handlers, drained by `main`.

`WorkQueue` is plain data with the time passed in; `drain` is the only part that waits.
"""

import asyncio
import contextlib
import heapq
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hanse.controller.clock import Clock

BACKOFF_FIRST = 0.5
BACKOFF_MAX = 60.0


@dataclass(frozen=True, order=True)
class Key:
    """What to reconcile. `kind` is a kind of ours, or `Sweep`."""

    kind: str
    namespace: str = ""
    name: str = ""


class WorkQueue:
    """Keys and when they are due. A key that is added while it is in flight runs once more afterwards."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._in_flight: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Event()
        self.last_progress = clock.monotonic()

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Run the key in `delay` seconds; an earlier time that is planned already stays."""
        at = self._clock.monotonic() + delay
        if key in self._due and self._due[key] <= at:
            return
        self._due[key] = at
        heapq.heappush(self._heap, (at, key))
        self._wake.set()

    def take(self) -> Key | None:
        """The most overdue key that is not in flight; it is in flight afterwards."""
        now = self._clock.monotonic()
        held: list[tuple[float, Key]] = []
        taken = None
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._due.get(key) != at:
                continue  # planned anew since
            if key in self._in_flight:
                held.append((at, key))
                continue
            taken = key
            break
        for item in held:
            heapq.heappush(self._heap, item)
        if taken is not None:
            del self._due[taken]
            self._in_flight.add(taken)
        return taken

    def done(self, key: Key, *, failed: bool = False) -> None:
        """The key's run ended; after a failure it comes back, each time later."""
        self._in_flight.discard(key)
        self.last_progress = self._clock.monotonic()
        self._wake.set()
        if failed:
            count = self._failures[key] = self._failures.get(key, 0) + 1
            self.add(key, min(BACKOFF_MAX, BACKOFF_FIRST * 2 ** min(count - 1, 10)))
        else:
            self._failures.pop(key, None)

    def wait_seconds(self) -> float | None:
        """Seconds until a key that can run is due; None when there is none."""
        times = [at for at, key in self._heap if self._due.get(key) == at and key not in self._in_flight]
        return max(0.0, min(times) - self._clock.monotonic()) if times else None

    def depth(self) -> int:
        """Keys that are due now."""
        now = self._clock.monotonic()
        return sum(1 for at in self._due.values() if at <= now)

    def stalled_seconds(self) -> float:
        """How long due keys have waited without any run ending; 0 when nothing is due."""
        now = self._clock.monotonic()
        due = [at for at in self._due.values() if at <= now]
        return now - max(self.last_progress, min(due)) if due else 0.0

    async def wait(self, *, full: bool = False) -> None:
        """Until something may be taken; with all workers busy (`full`) that is when one of them ends."""
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), None if full else self.wait_seconds())


async def drain(queue: WorkQueue, run: Callable[[Key], Awaitable[bool]], workers: int) -> None:
    """Run keys as they come due, at most `workers` at a time, until cancelled. `run` returns False on failure."""
    async with asyncio.TaskGroup() as group:
        running = 0

        async def one(key: Key) -> None:
            nonlocal running
            failed = True
            try:
                failed = not await run(key)
            finally:
                running -= 1
                queue.done(key, failed=failed)

        while True:
            key = queue.take() if running < workers else None
            if key is None:
                await queue.wait(full=running >= workers)
                continue
            running += 1
            group.create_task(one(key))
