"""What the watches last said, slim. Filled by handlers and resyncs, read by `observe`.

It may lag: nothing is removed in the cluster because something is missing here.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hanse.api import names
from hanse.controller import views
from hanse.controller.kinds import Kind
from hanse.controller.views import Custom, JobView, PodView, View

Key = tuple[str, str]


class Cache:
    """Views by kind and (namespace, name), with an index by the job's uid that children carry as a label."""

    def __init__(self) -> None:
        self._views: dict[str, dict[Key, View]] = defaultdict(dict)
        self._by_job: dict[tuple[str, str], set[Key]] = defaultdict(set)

    def put(self, raw: Mapping[str, Any]) -> View:
        """Keep an object unless a newer version of it is known; the view that is known afterwards."""
        view = views.parse(raw)
        known = self._views[view.meta.kind].get(view.meta.key)
        if known is not None and known.meta.uid == view.meta.uid and _older(view, known):
            return known
        if known is not None:
            self._forget(known)
        self._views[view.meta.kind][view.meta.key] = view
        uid = view.meta.labels.get(names.LABEL_JOB_UID)
        if uid:
            self._by_job[view.meta.kind, uid].add(view.meta.key)
        return view

    def remove(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Drop an object that is gone; one of the same name and another uid stays."""
        known = self._views[kind].get((namespace, name))
        if known is not None and known.meta.uid == uid:
            self._forget(known)

    def keys(self, kind: Kind, namespace: str | None) -> frozenset[Key]:
        """What is known of a kind in a namespace (`None`: all), to be handed to `replace` after a list."""
        return frozenset(key for key in self._views[kind.kind] if namespace in (None, key[0]))

    def replace(self, kind: Kind, objects: Iterable[Mapping[str, Any]], before: frozenset[Key]) -> None:
        """Make a list's answer the truth for what was known `before` the list; what came meanwhile stays."""
        listed = {self.put(raw).meta.key for raw in objects}
        for key in before - listed:
            view = self._views[kind.kind].get(key)
            if view is not None:
                self._forget(view)

    def custom(self, kind: Kind, namespace: str, name: str) -> Custom | None:
        """An object of one of our kinds."""
        view = self._views[kind.kind].get((namespace, name))
        return view if isinstance(view, Custom) else None

    def customs(self, kind: Kind) -> Iterator[Custom]:
        """All objects of one of our kinds."""
        return (v for v in list(self._views[kind.kind].values()) if isinstance(v, Custom))

    def of_job(self, kind: Kind, job_uid: str) -> list[View]:
        """A kind's objects that carry the job's uid, by name."""
        keys = sorted(self._by_job.get((kind.kind, job_uid), ()))
        return [self._views[kind.kind][key] for key in keys]

    def jobs_of(self, kind: Kind, job_uid: str, namespace: str) -> list[JobView]:
        """batch/v1 Jobs of a FederatedJob in one namespace."""
        found = self.of_job(kind, job_uid)
        return [v for v in found if isinstance(v, JobView) and v.meta.namespace == namespace]

    def pods_of(self, kind: Kind, job_uid: str, namespace: str) -> list[PodView]:
        """Pods of a FederatedJob in one namespace."""
        found = self.of_job(kind, job_uid)
        return [v for v in found if isinstance(v, PodView) and v.meta.namespace == namespace]

    def pod(self, namespace: str, name: str) -> PodView | None:
        """One pod."""
        view = self._views["Pod"].get((namespace, name))
        return view if isinstance(view, PodView) else None

    def job(self, namespace: str, name: str) -> JobView | None:
        """One batch/v1 Job."""
        view = self._views["Job"].get((namespace, name))
        return view if isinstance(view, JobView) else None

    def size(self) -> dict[str, int]:
        """Number of objects by kind."""
        return {kind: len(found) for kind, found in self._views.items()}

    def _forget(self, view: View) -> None:
        self._views[view.meta.kind].pop(view.meta.key, None)
        uid = view.meta.labels.get(names.LABEL_JOB_UID)
        if uid:
            keys = self._by_job[view.meta.kind, uid]
            keys.discard(view.meta.key)
            if not keys:
                del self._by_job[view.meta.kind, uid]


def _older(new: View, known: View) -> bool:
    """Whether `new` comes late. Resource versions are numbers on every real API server; elsewhere the last one wins."""
    a, b = new.meta.resource_version, known.meta.resource_version
    return a.isdigit() and b.isdigit() and int(a) < int(b)
