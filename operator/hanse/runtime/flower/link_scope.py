"""Flower's SuperLink sends each request through nine middlewares, most of which look at the path and step aside.

Each layer costs about half a millisecond of CPU, which is most of what a small request costs. Here each layer is asked
only on the paths that it asks for itself; nothing is left out on those. Installed by `link_main`.
"""

from typing import Any, Final

from flwr.superlink.routers.control.middlewares import (
    ControlAuthenticationMiddleware,
    ControlEventLogMiddleware,
    ControlLicenseMiddleware,
    ControlSensitiveResponseMiddleware,
)
from flwr.superlink.routers.fleet.middlewares import FleetEventLogMiddleware
from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware
from starlette.middleware import Middleware

from hanse.runtime.flower.link_wake import App, Receive, Scope, Send

#: The prefix that each layer's own code compares the path with; a layer that is not here sees every request.
PREFIXES: Final[dict[Any, str]] = {
    ControlSensitiveResponseMiddleware: "/v1/control/",
    ControlAuthenticationMiddleware: "/v1/control/",
    ControlLicenseMiddleware: "/v1/control/",
    ControlEventLogMiddleware: "/v1/control/",
    NodeAuthMiddleware: "/v1/fleet/",
    FleetEventLogMiddleware: "/v1/fleet/",
}


class PathScoped:
    """One layer, asked only below its prefix."""

    def __init__(self, app: App, prefix: str, layer: Middleware) -> None:
        self._app = app
        self._prefix = prefix
        self._layer: Any = layer.cls(app, *layer.args, **layer.kwargs)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        inside = scope["type"] != "http" or str(scope["path"]).startswith(self._prefix)
        await (self._layer if inside else self._app)(scope, receive, send)


def scoped(layers: list[Middleware]) -> list[Middleware]:
    """The same layers in the same order, each behind its prefix."""
    return [
        Middleware(PathScoped, prefix=PREFIXES[layer.cls], layer=layer) if layer.cls in PREFIXES else layer
        for layer in layers
    ]
