"""Client pods without Kubernetes: real gate and trainer processes, and a driver in the aggregator's place."""

import contextlib
import shutil
import threading
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL
from flwr.common.serde import run_from_proto
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PullTaskInputRequest, SendTaskHeartbeatRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.task_identity import TaskIdentity

from hanse.api.paths import Paths
from hanse.api.runconfig import ClientConfig, ClientDataset
from hanse.runtime.flower.control import Control
from hanse.runtime.flower.grid import HanseGrid
from hanse.runtime.flower.link import LinkAddress, superexec_client, task_client
from hanse.runtime.gate.journal import Journal
from tests.contract.runtime.server.rig import Rig, wait_for

APP = "hanse.runtime.apps.counting:app"


@dataclass
class ClientPod:
    """Root directory and processes of one participant."""

    rig: Rig
    index: int
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.paths = Paths(self.rig.root / f"client-{self.index}")
        for directory in (self.paths.config, self.paths.shared, self.paths.data, self.paths.tls):
            directory.mkdir(parents=True, exist_ok=True)
        self.rig.authority.issue(self.paths.tls, f"p{self.index}", server=False)
        (self.paths.tls / "node.key").write_bytes(self.rig.node_key_file(self.index).read_bytes())
        (self.paths.data / "rows.csv").write_text("a,label\n1,0\n")
        fields: dict[str, Any] = {
            "job": self.rig.config.job,
            "participant": f"p{self.index}",
            "index": self.index,
            "participants": self.rig.clients,
            "server_address": f"127.0.0.1:{self.rig.config.superlink_port}",
            "client_app": APP,
            "config": {},
            "dataset": ClientDataset(name="rows", path="rows.csv"),
        }
        self.config = ClientConfig(**(fields | self.settings))
        self.paths.client_config.write_text(self.config.model_dump_json(by_alias=True))

    @property
    def gate(self) -> str:
        return f"gate-{self.index}"

    @property
    def trainer(self) -> str:
        return f"trainer-{self.index}"

    def start_gate(self) -> None:
        self.rig.start_program(self.gate, "hanse.runtime.gate", self.paths.root)

    def start_trainer(self) -> None:
        self.rig.start_program(self.trainer, "hanse.runtime.trainer", self.paths.root)

    def start(self) -> None:
        self.start_gate()
        self.start_trainer()

    def wait(self, name: str, seconds: float = 120.0) -> int:
        """Exit code of one of our programs."""
        return self.rig.processes[name].wait(seconds)

    def taken(self) -> str:
        """What the gate has told the server last, or will with its next pull."""
        return Journal(self.paths.state).taken()

    def wait_taken(self, message_id: str) -> None:
        wait_for(lambda: self.taken() == message_id, "the gate to take the message", 120)

    def replace(self) -> None:
        """Another pod in the place of one that vanished: nothing of it is left."""
        for name in (self.gate, self.trainer):
            if name in self.rig.processes:
                self.rig.kill(name)
        for directory in (self.paths.shared, self.paths.state):
            shutil.rmtree(directory)
        self.paths.shared.mkdir()
        self.start()

    def termination(self) -> str:
        return self.paths.termination_log.read_text()


class Driver:
    """Registers the nodes, starts a Flower run and exchanges messages, as launcher and aggregator do."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.address = LinkAddress.of(rig.paths, rig.config)
        with Control(self.address) as control:
            self.nodes = control.register(rig.config.participants)
            self.run_id = control.start()
        with superexec_client(self.address, lambda: False) as client:
            token = wait_for(
                lambda: client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP])).token,
                "the run's task",
            )
        self.client = task_client(self.address, token, lambda: False)
        answer = self.client.PullTaskInput(PullTaskInputRequest())
        TaskIdentity.task_id = answer.task_id
        TaskIdentity.run_id = answer.run.run_id
        TaskIdentity.node_id = answer.context.node_id
        self.grid = HanseGrid(self.client, run_from_proto(answer.run))
        self._done = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        """Without a heartbeat the SuperLink ends the run after a minute, however long a test waits."""
        while not self._done.wait(HEARTBEAT_DEFAULT_INTERVAL / 3):
            with contextlib.suppress(httpx.HTTPError):
                self.client.SendTaskHeartbeat(SendTaskHeartbeatRequest())

    def close(self) -> None:
        self._done.set()

    def online(self, *indices: int, seconds: float = 120.0) -> None:
        """Wait until exactly these participants are online."""
        wanted = {self.nodes[i] for i in indices}
        wait_for(lambda: set(self.grid.get_node_ids()) == wanted, f"nodes {indices} to be online", seconds)

    def message(self, index: int, kind: str, content: RecordDict, ttl: float = 60.0, number: int = 1) -> Message:
        return Message(content, self.nodes[index], kind, ttl=ttl, group_id=str(number))

    def ask(self, *messages: Message, timeout: float = 60.0) -> list[Message]:
        return list(self.grid.send_and_receive(messages, timeout=timeout))

    def train(
        self, *indices: int, size: int = 4, number: int = 1, kind: str = "train", ttl: float = 60.0
    ) -> list[Message]:
        """One exchange with a vector of zeros; replies in the order of the indices."""
        sent = [self.message(i, kind, model(size, number), ttl=ttl, number=number) for i in indices]
        replies = {reply.metadata.src_node_id: reply for reply in self.ask(*sent)}
        return [replies[self.nodes[i]] for i in indices if self.nodes[i] in replies]

    def end(self, *indices: int) -> list[Message]:
        content = RecordDict({"end": ConfigRecord({"outcome": "Complete"})})
        return self.ask(*(self.message(i, "query.hanse_end", content) for i in indices))


def model(size: int, number: int = 1) -> RecordDict:
    """Arrays and config as the aggregator sends them."""
    arrays = ArrayRecord({"vector": Array(np.zeros(size, dtype=np.float32))})
    return RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": number})})
