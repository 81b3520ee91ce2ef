"""Prometheus metrics of the operator. Counted by the engine and the progress server, served by `health`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hanse.controller import kinds
from hanse.controller.cache import Cache
from hanse.controller.queue import WorkQueue


class Metrics:
    """One registry, so that tests do not share counters."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._jobs = Gauge("hanse_federated_jobs", "FederatedJobs by state.", ["state"], registry=self._registry)
        self._objects = Gauge("hanse_cache_objects", "Objects in the cache.", ["kind"], registry=self._registry)
        self._depth = Gauge("hanse_queue_depth", "Keys that are due.", registry=self._registry)
        self._stalled = Gauge("hanse_queue_stalled_seconds", "How long due keys wait.", registry=self._registry)
        self._seconds = Histogram("hanse_reconcile_seconds", "Duration of a visit.", ["kind"], registry=self._registry)
        self._errors = Counter("hanse_reconcile_errors", "Visits that failed.", ["kind"], registry=self._registry)
        self._pushes = Counter("hanse_progress_pushes", "Progress pushes by answer.", ["code"], registry=self._registry)
        self._resyncs = Counter("hanse_resyncs", "Resyncs by result.", ["result"], registry=self._registry)

    def visited(self, kind: str, seconds: float) -> None:
        """A visit ended."""
        self._seconds.labels(kind).observe(seconds)

    def failed(self, kind: str) -> None:
        """A visit failed."""
        self._errors.labels(kind).inc()

    def pushed(self, code: int) -> None:
        """A progress push was answered."""
        self._pushes.labels(str(code)).inc()

    def resynced(self, *, complete: bool) -> None:
        """A resync ended."""
        self._resyncs.labels("complete" if complete else "partial").inc()

    def render(self, cache: Cache, queue: WorkQueue) -> bytes:
        """The exposition format, with the gauges read now."""
        states: dict[str, int] = {}
        for view in cache.customs(kinds.FEDERATED_JOB):
            state = (view.status.get("summary") or {}).get("state", "Pending")
            states[state] = states.get(state, 0) + 1
        self._jobs.clear()
        for state, count in states.items():
            self._jobs.labels(state).set(count)
        for kind, count in cache.size().items():
            self._objects.labels(kind).set(count)
        self._depth.set(queue.depth())
        self._stalled.set(queue.stalled_seconds())
        return generate_latest(self._registry)
