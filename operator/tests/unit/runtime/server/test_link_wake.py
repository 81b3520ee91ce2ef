"""The wake-up middleware: a pull waits for news, and nothing is ever changed or lost."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flwr.proto.fleet_pb2 import PushMessagesResponse
from flwr.proto.runtime_pb2 import PushAppMessagesResponse

from hanse.runtime.flower.link_wake import AsgiMessage, Receive, Scope, Send, WakeMiddleware

FLEET_PULL = "/v1/fleet/pull-messages"
FLEET_PUSH = "/v1/fleet/push-messages"
RUNTIME_PULL = "/v1/runtime/pull-messages"
RUNTIME_PUSH = "/v1/runtime/push-messages"
LONG = 3600.0


@dataclass
class SuperLink:
    """Stands for Flower's application: answers what `bodies` says, and notes who got through."""

    bodies: dict[str, Callable[[], bytes]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.seen.append(scope["path"])
        self.received.append(body)
        answer = self.bodies.get(scope["path"], lambda: b"")()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})


class Peer:
    """A client: each call is one request over a connection that may be cut."""

    def __init__(self, app: WakeMiddleware, name: bytes) -> None:
        self._app, self._name = app, name
        self.cut = asyncio.Event()

    async def call(self, path: str, *chunks: bytes) -> bytes | None:
        waiting = [{"type": "http.request", "body": c, "more_body": True} for c in chunks]
        waiting.append({"type": "http.request", "body": b"", "more_body": False})
        answer: list[bytes] = []

        async def receive() -> AsgiMessage:
            if waiting:
                return waiting.pop(0)
            await self.cut.wait()
            return {"type": "http.disconnect"}

        async def send(message: AsgiMessage) -> None:
            if message["type"] == "http.response.body":
                answer.append(message["body"])

        header = b"flwr-public-key" if "fleet" in path else b"flwr-task-token"
        scope: dict[str, Any] = {"type": "http", "path": path, "headers": [(header, self._name)]}
        await self._app(scope, receive, send)
        return b"".join(answer) if answer else None


async def _settled(task: "asyncio.Task[Any]") -> bool:
    """Whether the task has ended once everything that can run has run."""
    for _ in range(50):
        await asyncio.sleep(0)
    return task.done()


async def test_the_first_pull_is_answered_at_once_and_the_next_waits() -> None:
    app = WakeMiddleware(SuperLink(), hold=LONG)
    gate = Peer(app, b"a")
    assert await gate.call(FLEET_PULL) == b""
    waiting = asyncio.create_task(gate.call(FLEET_PULL))
    assert not await _settled(waiting)
    waiting.cancel()


async def test_the_hold_ends_by_itself() -> None:
    link = SuperLink()
    gate = Peer(WakeMiddleware(link, hold=0.0), b"a")
    assert [await gate.call(FLEET_PULL) for _ in range(3)] == [b"", b"", b""]
    assert link.seen == [FLEET_PULL] * 3


async def test_a_pull_that_brought_something_is_followed_by_one_that_does_not_wait() -> None:
    answers = iter([b"message", b""])
    app = WakeMiddleware(SuperLink({FLEET_PULL: lambda: next(answers)}), hold=LONG)
    gate = Peer(app, b"a")
    assert await gate.call(FLEET_PULL) == b"message"
    assert await gate.call(FLEET_PULL) == b""


async def test_a_message_wakes_all_gates_when_its_last_object_is_there() -> None:
    announced = PushAppMessagesResponse(message_ids=["m"], objects_to_push=["1", "2"], session_id="s")
    app = WakeMiddleware(SuperLink({RUNTIME_PUSH: announced.SerializeToString}), hold=LONG)
    gates = [Peer(app, name) for name in (b"a", b"b")]
    for gate in gates:
        await gate.call(FLEET_PULL)
    waiting = [asyncio.create_task(gate.call(FLEET_PULL)) for gate in gates]
    aggregator = Peer(app, b"token")
    await aggregator.call(RUNTIME_PUSH)
    await aggregator.call("/v1/runtime/push-object")
    assert not any([await _settled(task) for task in waiting])
    await aggregator.call("/v1/runtime/push-object")
    assert all([await _settled(task) for task in waiting])


async def test_enclosed_messages_wake_at_once() -> None:
    announced = PushAppMessagesResponse(message_ids=["m", "n"], objects_to_push=["m", "n"], session_id="s")
    app = WakeMiddleware(SuperLink({RUNTIME_PUSH: announced.SerializeToString}), hold=LONG)
    gate = Peer(app, b"a")
    await gate.call(FLEET_PULL)
    waiting = asyncio.create_task(gate.call(FLEET_PULL))
    await _settled(waiting)
    await Peer(app, b"token").call(RUNTIME_PUSH)
    assert await _settled(waiting)


async def test_a_reply_wakes_the_aggregator_and_no_gate() -> None:
    reply = PushMessagesResponse(results={"m": 0}, objects_to_push=["m"], session_id="s")
    app = WakeMiddleware(SuperLink({FLEET_PUSH: reply.SerializeToString}), hold=LONG)
    aggregator, other = Peer(app, b"token"), Peer(app, b"b")
    for peer, path in ((aggregator, RUNTIME_PULL), (other, FLEET_PULL)):
        await peer.call(path)
    waiting = [asyncio.create_task(aggregator.call(RUNTIME_PULL)), asyncio.create_task(other.call(FLEET_PULL))]
    await _settled(waiting[0])
    await Peer(app, b"a").call(FLEET_PUSH)
    assert await _settled(waiting[0])
    assert not waiting[1].done()
    waiting[1].cancel()


async def test_a_peer_that_pulls_has_finished_pushing() -> None:
    announced = PushAppMessagesResponse(message_ids=["m"], objects_to_push=["1", "2"], session_id="s")
    app = WakeMiddleware(SuperLink({RUNTIME_PUSH: announced.SerializeToString}), hold=LONG)
    gate, aggregator = Peer(app, b"a"), Peer(app, b"token")
    await gate.call(FLEET_PULL)
    waiting = asyncio.create_task(gate.call(FLEET_PULL))
    await _settled(waiting)
    await aggregator.call(RUNTIME_PUSH)
    await aggregator.call(RUNTIME_PULL)
    assert await _settled(waiting)


async def test_a_message_that_comes_between_two_pulls_is_not_missed() -> None:
    announced = PushAppMessagesResponse(message_ids=["m"], objects_to_push=[], session_id="s")
    app = WakeMiddleware(SuperLink({RUNTIME_PUSH: announced.SerializeToString}), hold=LONG)
    gate = Peer(app, b"a")
    await gate.call(FLEET_PULL)
    await Peer(app, b"token").call(RUNTIME_PUSH)
    assert await gate.call(FLEET_PULL) == b""


async def test_who_hangs_up_while_waiting_takes_no_message() -> None:
    link = SuperLink()
    gate = Peer(WakeMiddleware(link, hold=LONG), b"a")
    await gate.call(FLEET_PULL)
    waiting = asyncio.create_task(gate.call(FLEET_PULL))
    assert not await _settled(waiting)
    gate.cut.set()
    assert await _settled(waiting)
    assert waiting.result() is None
    assert link.seen == [FLEET_PULL]


async def test_requests_reach_the_superlink_unchanged() -> None:
    link = SuperLink()
    app = WakeMiddleware(link, hold=0.0)
    peer = Peer(app, b"a")
    for path in (FLEET_PULL, FLEET_PUSH, "/v1/fleet/push-object", "/v1/control/list-runs", "/health"):
        await peer.call(path, b"one", b"two")
    assert link.received == [b"onetwo"] * 5


async def test_a_refused_push_wakes_nobody() -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        status = 401 if "push" in scope["path"] else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app = WakeMiddleware(refuse, hold=LONG)
    gate = Peer(app, b"a")
    await gate.call(FLEET_PULL)
    waiting = asyncio.create_task(gate.call(FLEET_PULL))
    await _settled(waiting)
    await Peer(app, b"token").call(RUNTIME_PUSH)
    assert not await _settled(waiting)
    waiting.cancel()
