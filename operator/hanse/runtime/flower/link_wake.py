"""Long polling for Flower's two pull-messages calls: an empty answer is held back until there is something to pull.

Flower's SuperLink answers at once, so its peers have to poll; ten gates that poll every 50 ms cost a core. This ASGI
middleware sits outermost in the SuperLink and only delays requests: it never changes one, nor an answer. A pull waits
until the other side has pushed a whole message since this peer's last empty pull, or `hold` has passed. Peers that
know nothing of it work as before. Installed by `link_main` through Flower's own extension hook.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

from flwr.proto.fleet_pb2 import PushMessagesResponse
from flwr.proto.runtime_pb2 import PushAppMessagesResponse

Scope = MutableMapping[str, Any]
AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: The node's signature in the request is older by this when it is checked: far below Flower's tolerance of 10 s.
HOLD_SECONDS: Final = 1.0
_PEER_HEADERS: Final = {"fleet": b"flwr-public-key", "runtime": b"flwr-task-token"}


@dataclass
class _Side:
    """One side of the exchange. `version` counts whole messages pushed towards it."""

    version: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    seen: dict[bytes, int] = field(default_factory=dict)
    unpushed: dict[bytes, int] = field(default_factory=dict)

    def wake(self) -> None:
        self.version += 1
        self.changed.set()
        self.changed = asyncio.Event()


class WakeMiddleware:
    """See the module's docstring."""

    def __init__(self, app: App, hold: float = HOLD_SECONDS) -> None:
        self._app = app
        self._hold = hold
        self._sides = {"fleet": _Side(), "runtime": _Side()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name, _, call = str(scope.get("path", "")).removeprefix("/v1/").partition("/")
        if scope["type"] != "http" or name not in self._sides:
            await self._app(scope, receive, send)
            return
        peer = _peer(scope, name)
        if call == "pull-messages":
            await self._pull(name, peer, scope, receive, send)
        elif call in ("push-messages", "push-object"):
            await self._push(name, call, peer, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _pull(self, name: str, peer: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        side = self._sides[name]
        self._finish_push(name, peer)
        requests = [await receive()]
        while requests[-1]["type"] == "http.request" and requests[-1].get("more_body"):
            requests.append(await receive())
        if side.seen.get(peer) == side.version and not await self._held(side, receive):
            return  # the peer has gone: its message must not be marked as delivered
        version = side.version
        recorder = _Recorder(send)
        await self._app(scope, _replay(requests, receive), recorder)
        # An empty protobuf message has no bytes. Only then there is nothing more to pull.
        if recorder.status == 200 and not recorder.body:
            side.seen[peer] = version
        else:
            side.seen.pop(peer, None)

    async def _held(self, side: _Side, receive: Receive) -> bool:
        """Wait for news or the end of the hold; False if the peer went away meanwhile."""
        changed = asyncio.ensure_future(side.changed.wait())
        gone = asyncio.ensure_future(receive())
        try:
            await asyncio.wait({changed, gone}, timeout=self._hold, return_when=asyncio.FIRST_COMPLETED)
            return not gone.done()
        finally:
            changed.cancel()
            gone.cancel()

    async def _push(self, name: str, call: str, peer: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        recorder = _Recorder(send)
        await self._app(scope, receive, recorder)
        unpushed = self._sides[name].unpushed
        if recorder.status != 200:
            return
        if call == "push-messages":
            unpushed[peer] = _objects_to_come(name, bytes(recorder.body))
        elif peer in unpushed:
            unpushed[peer] -= 1
        if unpushed.get(peer, 1) <= 0:
            self._finish_push(name, peer)

    def _finish_push(self, name: str, peer: bytes) -> None:
        """All objects of the peer's message are there (or it pulls already): wake who waits on the other side."""
        if self._sides[name].unpushed.pop(peer, None) is not None:
            self._sides["runtime" if name == "fleet" else "fleet"].wake()


class _Recorder:
    """Passes a response on and keeps its status and (small) body."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.body = bytearray()

    async def __call__(self, message: AsgiMessage) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
        await self._send(message)


def _objects_to_come(name: str, body: bytes) -> int:
    """How many objects the peer has yet to push before its messages are whole."""
    if name == "fleet":
        answer = PushMessagesResponse.FromString(body)
        messages = len(answer.results)
    else:
        response = PushAppMessagesResponse.FromString(body)
        answer, messages = response, len(response.message_ids)
    objects = len(answer.objects_to_push)
    # One object for each message: their content is in the announcement (`wire_inline`), they are whole already.
    return objects if objects > messages else 0


def _peer(scope: Scope, name: str) -> bytes:
    """Who calls: the node's public key or the task's token. It separates waiting lines, it authenticates nobody."""
    return next((bytes(v) for k, v in scope["headers"] if k == _PEER_HEADERS[name]), b"")


def _replay(requests: list[AsgiMessage], receive: Receive) -> Receive:
    pending = iter(requests)

    async def replay() -> AsgiMessage:
        message = next(pending, None)
        return message if message is not None else await receive()

    return replay
