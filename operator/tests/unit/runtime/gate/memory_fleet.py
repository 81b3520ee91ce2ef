"""A server in memory for the gate's session, and a trainer's end of the socket that the tests play themselves."""

import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.app.message import make_message
from flwr.app.metadata import Metadata
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.message_pb2 import ObjectTree

from hanse.api.runconfig import MAX_MESSAGE_BYTES
from hanse.runtime.flower import wire
from hanse.runtime.flower.fleet import FleetError, Letter, Outgoing
from hanse.runtime.gate.filter import Counts, Filter, OpenFilter
from hanse.runtime.gate.frames import Connection, Frame
from hanse.runtime.gate.journal import Journal
from hanse.runtime.gate.layers import LocalLayers
from hanse.runtime.gate.session import Session
from hanse.runtime.gate.wake import Wake


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Poll; the time-out is generous and only for a test that has failed anyway."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.005)


def model(value: float = 0.0) -> RecordDict:
    arrays = ArrayRecord({"w": Array(np.full(3, value, np.float32))})
    return RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": 1})})


def letter(content: RecordDict, kind: str = "train", message_id: str = "m1", ttl: float = 60.0) -> Letter:
    metadata = Metadata(1, message_id, 0, 7, "", "1", time.time(), ttl, kind)
    return Letter(make_message(metadata=metadata, content=content), ObjectTree(object_id=message_id))


@dataclass
class MemoryFleet:
    """Hands out letters, keeps answers; `faults[call]` are raised by the next calls of that name."""

    faults: dict[str, list[FleetError]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    inbox: "queue.Queue[Letter]" = field(default_factory=queue.Queue)
    composed: list[tuple[bytes, RecordDict | int]] = field(default_factory=list)
    answers: "queue.Queue[tuple[bytes, RecordDict | int]]" = field(default_factory=queue.Queue)
    taken: list[str] = field(default_factory=list)
    online: threading.Event = field(default_factory=threading.Event)
    offline: threading.Event = field(default_factory=threading.Event)

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.faults.get(name):
            raise self.faults[name].pop(0)

    def activate(self) -> int:
        self._called("activate")
        self.online.set()
        return 7

    def heartbeat(self) -> None:
        self._called("heartbeat")

    def deactivate(self) -> None:
        self._called("deactivate")
        self.offline.set()

    def pull(self, taken: str) -> Letter | None:
        self._called("pull")
        self.taken.append(taken)
        try:
            return self.inbox.get_nowait()
        except queue.Empty:
            return None

    def fetch(self, letter: Letter) -> RecordDict | None:
        self._called("fetch")
        return letter.message.content

    def compose(self, origin: bytes, content: RecordDict | int, seconds: float) -> Outgoing:
        self._called("compose")
        self.composed.append((origin, content))
        return Outgoing(ProtoMessage(), ObjectTree(object_id=str(len(self.composed) - 1)), {}, seconds)

    def push(self, outgoing: Outgoing) -> None:
        self._called("push")
        self.answers.put(self.composed[int(outgoing.tree.object_id)])


class Stage:
    """A session in a thread; the test is the trainer and the server."""

    def __init__(
        self,
        directory: Path,
        patience: float = 60.0,
        fleet: MemoryFleet | None = None,
        limit: int = MAX_MESSAGE_BYTES,
        chosen: Filter | None = None,
    ) -> None:
        self.fleet = fleet or MemoryFleet()
        self.journal = Journal(directory)
        self.wake = Wake()
        ours, theirs = socket.socketpair()
        self.trainer = Connection(ours)
        chosen = chosen or OpenFilter(LocalLayers(directory, []), Counts(directory, None))
        session = Session(Connection(theirs), self.fleet, self.journal, self.wake, chosen, patience, limit)
        self.thread = threading.Thread(target=session.serve, daemon=True)
        self.thread.start()

    def send(self, sent: Letter) -> None:
        self.fleet.inbox.put(sent)

    def hear(self, kind: str) -> Frame:
        frame = self.trainer.recv()
        assert frame.kind == kind, frame
        return frame

    def say(self, kind: str, **meta: Any) -> None:
        self.trainer.send(Frame(kind, meta))

    def reply(self, content: RecordDict, state: RecordDict | None = None, message_id: str = "m1") -> None:
        blobs, split = wire.pack_answer(content, state or RecordDict())
        self.trainer.send(Frame("reply", {"id": message_id, "split": split}, blobs))

    def answer(self) -> RecordDict | int:
        return self.fleet.answers.get(timeout=20)[1]

    def finish(self) -> None:
        self.wake.stop()
        self.over()

    def over(self) -> None:
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.trainer.close()
