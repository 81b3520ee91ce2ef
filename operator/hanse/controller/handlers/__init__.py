"""kopf's side: `on.event` for each watched kind, straight into cache and queue. Registered by `main`."""

import dataclasses
import ssl
from typing import Any

import kopf

from hanse.controller import dispatch, kinds
from hanse.controller.cache import Cache
from hanse.controller.engine import SWEEP
from hanse.controller.queue import WorkQueue
from hanse.controller.tls import as_client_go
from hanse.controller.views import Custom, parse

#: Progress changes a job's status every round; its Participations need not follow each time.
FOLLOW_SECONDS = 10.0
#: Each release of each gate changes a budget: its numbers may follow a moment later.
PAID_SECONDS = 2.0


def register(registry: kopf.OperatorRegistry, cache: Cache, queue: WorkQueue) -> None:
    """Watch every kind of `kinds.WATCHED`."""

    async def on_event(*, event: Any, **_: Any) -> None:
        handle(event, cache, queue)

    for kind in kinds.WATCHED:
        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=kind.plural)(on_event)
    kopf.on.login(registry=registry, id="login")(_login)


class _Connection(kopf.ConnectionInfo):
    def as_ssl_context(self) -> ssl.SSLContext:
        return as_client_go(super().as_ssl_context())


async def _login(**context: Any) -> kopf.ConnectionInfo | None:
    """The pod's service account, or else `KUBECONFIG`."""
    found = kopf.login_with_service_account(**context) or kopf.login_with_kubeconfig(**context)
    if found is None:
        return None
    return _Connection(**{field.name: getattr(found, field.name) for field in dataclasses.fields(found)})


def handle(event: dict[str, Any], cache: Cache, queue: WorkQueue) -> None:
    """One watch event."""
    raw = event["object"]
    view = parse(raw)
    known = cache.custom(kinds.PRIVACY_BUDGET, view.meta.namespace, view.meta.name)
    if event["type"] == "DELETED":
        meta = view.meta
        cache.remove(meta.kind, meta.namespace, meta.name, meta.uid, meta.resource_version)
        if view.meta.kind == kinds.FEDERATED_JOB.kind:
            queue.add(SWEEP)
    else:
        view = cache.put(raw)
    delay = PAID_SECONDS if event["type"] != "DELETED" and dispatch.is_payment(known, view) else 0.0
    for key in dispatch.keys(view, cache):
        queue.add(key, delay)
    if isinstance(view, Custom) and view.meta.kind == kinds.FEDERATED_JOB.kind:
        for key in dispatch.followers(view, cache):
            queue.add(key, FOLLOW_SECONDS)


async def add_namespace(insights: Any, namespace: str | None) -> None:
    """Have kopf watch one more namespace: what its own namespace observer does when one appears."""
    async with insights.revised:
        insights.namespaces.add(namespace)
        insights.revised.notify_all()
