"""Which namespaces are served: those of the settings, and those that jobs name once their owners let the operator in.

A namespace is watched when a list of every kind in it was answered: a watch that is refused would end kopf.
"""

from collections.abc import Awaitable, Callable

from hanse.controller import kinds
from hanse.controller.cache import Cache

Granted = Callable[[str | None], Awaitable[None]]


class Namespaces:
    """What is wanted and what is granted. `None` stands for all namespaces."""

    def __init__(self, watch_namespaces: tuple[str, ...], cache: Cache) -> None:
        self._configured = watch_namespaces
        self._cache = cache
        self.granted: set[str | None] = set()

    def wanted(self) -> list[str | None]:
        """The configured namespaces and those of the participants of every known job."""
        if not self._configured:
            return [None]
        named = set(self._configured)
        for view in self._cache.customs(kinds.FEDERATED_JOB):
            for member in view.spec.get("participants") or []:
                namespace = (member.get("participantRef") or {}).get("namespace")
                if namespace:
                    named.add(namespace)
        return [*sorted(named)]

    def closed(self) -> list[str | None]:
        """Wanted, and not granted yet."""
        return [namespace for namespace in self.wanted() if namespace not in self.granted]
