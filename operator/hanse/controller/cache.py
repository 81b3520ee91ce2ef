"""What the watches last said, slim. Filled by handlers and resyncs, read by `observe`.

It may lag: nothing is removed in the cluster because something is missing here.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from hanse.api import names
from hanse.controller import views
from hanse.controller.kinds import Kind
from hanse.controller.views import Custom, JobView, PodView, View

Key = tuple[str, str]
#: Objects that are known to be gone, the last so many: what arrives late must not bring them back.
REMEMBERED: Final = 4096


class Cache:
    """Views by kind and (namespace, name), with an index by the job's uid that children carry as a label."""

    def __init__(self) -> None:
        self._views: dict[str, dict[Key, View]] = defaultdict(dict)
        self._by_job: dict[tuple[str, str], set[Key]] = defaultdict(set)
        #: Last resource version by uid.
        self._gone: OrderedDict[str, str] = OrderedDict()

    def put(self, raw: Mapping[str, Any]) -> View:
        """Keep an object unless it is gone or a newer version of it is known; the view that counts."""
        view = views.parse(raw)
        if not _newer(view.meta.resource_version, self._gone.get(view.meta.uid)):
            return view
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

    def remove(self, kind: str, namespace: str, name: str, uid: str, resource_version: str = "") -> None:
        """Drop an object that is gone since a version; one of the same name and another uid stays."""
        known = self._views[kind].get((namespace, name))
        if known is not None and known.meta.uid == uid:
            self._forget(known)
            resource_version = resource_version or known.meta.resource_version
        if uid and (resource_version or uid not in self._gone):
            self._gone[uid] = resource_version
            self._gone.move_to_end(uid)
        while len(self._gone) > REMEMBERED:
            self._gone.popitem(last=False)

    def known(self, kind: Kind, namespace: str | None) -> dict[Key, str]:
        """uids of what is known of a kind in a namespace (`None`: all), to be handed to `replace` after a list."""
        return {key: view.meta.uid for key, view in self._views[kind.kind].items() if namespace in (None, key[0])}

    def replace(self, kind: Kind, objects: Iterable[Mapping[str, Any]], before: Mapping[Key, str]) -> None:
        """Make a list's answer the truth for what was known `before` the list; what came meanwhile stays."""
        listed = {self.put(raw).meta.uid for raw in objects}
        for (namespace, name), uid in before.items():
            if uid not in listed:
                self.remove(kind.kind, namespace, name, uid)

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


def _newer(version: str, gone: str | None) -> bool:
    """Whether it is there after all: what leaves a watch's selector is told as deleted, and may return later."""
    return gone is None or (version.isdigit() and gone.isdigit() and int(version) > int(gone))
