"""The work queue on a clock of the test's own."""

import asyncio

import pytest

from hanse.controller.queue import BACKOFF_FIRST, BACKOFF_MAX, Key, WorkQueue, drain
from tests.unit.controller.world import Clock

A, B = Key("FederatedJob", "x", "a"), Key("FederatedJob", "x", "b")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue:
    return WorkQueue(clock)


def test_a_key_added_twice_runs_once(queue: WorkQueue) -> None:
    queue.add(A)
    queue.add(A)
    assert queue.take() == A
    queue.done(A)
    assert queue.take() is None


def test_one_in_flight_for_each_key_and_nothing_lost(queue: WorkQueue) -> None:
    queue.add(A)
    assert queue.take() == A
    queue.add(A)
    queue.add(B)
    assert queue.take() == B
    assert queue.take() is None
    queue.done(A)
    assert queue.take() == A


def test_the_earlier_time_wins(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A, 10)
    queue.add(A, 2)
    queue.add(A, 5)
    assert queue.wait_seconds() == 2
    clock.advance(2)
    assert queue.take() == A
    queue.done(A)
    clock.advance(100)
    assert queue.take() is None


def test_back_off_doubles_up_to_a_limit_and_ends_with_success(queue: WorkQueue, clock: Clock) -> None:
    waits = []
    queue.add(A)
    for _ in range(12):
        clock.advance(queue.wait_seconds() or 0)
        assert queue.take() == A
        queue.done(A, failed=True)
        waits.append(queue.wait_seconds())
    assert waits[:3] == [BACKOFF_FIRST, 2 * BACKOFF_FIRST, 4 * BACKOFF_FIRST]
    assert waits[-1] == BACKOFF_MAX
    clock.advance(BACKOFF_MAX)
    assert queue.take() == A
    queue.done(A)
    queue.add(A)
    assert queue.take() == A
    queue.done(A, failed=True)
    assert queue.wait_seconds() == BACKOFF_FIRST


def test_news_do_not_wait_for_the_back_off(queue: WorkQueue) -> None:
    queue.add(A)
    queue.take()
    queue.done(A, failed=True)
    queue.add(A)
    assert queue.take() == A


def test_stalled_is_due_work_without_any_end(queue: WorkQueue, clock: Clock) -> None:
    assert queue.stalled_seconds() == 0
    queue.add(A, 10)
    clock.advance(60)
    assert queue.stalled_seconds() == 50
    assert queue.depth() == 1
    queue.take()
    assert queue.stalled_seconds() == 0


async def test_drain_runs_several_keys_at_a_time_and_each_one_once(clock: Clock) -> None:
    queue = WorkQueue(clock)
    running: set[Key] = set()
    seen: list[int] = []
    release = asyncio.Event()

    async def run(key: Key) -> bool:
        assert key not in running
        running.add(key)
        seen.append(len(running))
        await release.wait()
        running.discard(key)
        return True

    keys = [Key("FederatedJob", "x", str(n)) for n in range(5)]
    for key in keys:
        queue.add(key)
    task = asyncio.create_task(drain(queue, run, workers=3))
    while len(running) < 3:  # noqa: ASYNC110 - the loop turns, no time passes
        await asyncio.sleep(0)
    for key in keys:
        queue.add(key)
    release.set()
    while len(seen) < 8:  # noqa: ASYNC110 - two never started: they run once; three were in flight: once more
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert max(seen) == 3


async def test_a_worker_that_raises_does_not_lose_its_key(clock: Clock) -> None:
    queue = WorkQueue(clock)
    queue.add(A)

    async def run(key: Key) -> bool:
        raise RuntimeError("bug")

    with pytest.raises(ExceptionGroup):
        await drain(queue, run, workers=1)
    assert queue.wait_seconds() == BACKOFF_FIRST
