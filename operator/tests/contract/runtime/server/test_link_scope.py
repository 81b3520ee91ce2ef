"""The SuperLink's layers behind their prefixes: every check is still made where it belongs."""

from typing import Any

import pytest
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.superlink import main as superlink_main
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from hanse.runtime.flower import link_scope
from hanse.runtime.flower.link_wake import App, Receive, Scope, Send


class Counting:
    """A layer that notes the paths that it sees."""

    seen: list[str]

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            Counting.seen.append(scope["path"])
        await self._app(scope, receive, send)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Counting.seen = []


def test_all_of_flowers_layers_are_known_or_left_alone() -> None:
    """A new flwr with other layers shows here: nothing is dropped, and the guards are scoped to what they guard."""
    layers = superlink_main._get_middleware()
    kept = link_scope.scoped(layers)
    assert len(kept) == len(layers)
    inner: list[Any] = [m.kwargs.get("layer", m) for m in kept]
    wrapped = [m.cls for m in inner]
    assert wrapped == [m.cls for m in layers]
    assert set(link_scope.PREFIXES) <= set(wrapped)


def test_a_layer_sees_what_is_below_its_prefix_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(link_scope.PREFIXES, Counting, "/v1/fleet/")
    (layer,) = link_scope.scoped([Middleware(Counting)])
    client = TestClient(layer.cls(_nothing, *layer.args, **layer.kwargs))
    for path in ("/v1/fleet/pull-messages", "/v1/fleet", "/v1/runtime/pull-messages", "/v1/control/x", "/health"):
        client.post(path)
    assert Counting.seen == ["/v1/fleet/pull-messages"]


def test_unsigned_fleet_calls_are_refused_by_the_scoped_application(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = superlink_main._get_middleware
    monkeypatch.setattr(superlink_main, "_get_middleware", lambda: link_scope.scoped(stock()))
    monkeypatch.setenv("FLWR_DATABASE", ":memory:")
    client = TestClient(superlink_main.create_app())
    headers = {"content-type": PROTOBUF_MEDIA_TYPE}
    for call in ("pull-messages", "push-messages", "activate-node", "send-node-heartbeat"):
        answer = client.post(f"/v1/fleet/{call}", headers=headers)
        assert answer.status_code == 401, call
