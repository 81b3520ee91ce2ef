"""Stock Flower for the benchmark `rounds`: its own programs and defaults, the same TLS, SQLite and node authentication.

SuperLink with process isolation beside SuperExec, one SuperNode for each client; FedAvg over the same tiny vector.
"""

import hashlib
import os
import sys
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from flwr.cli.build import build_fab_from_disk
from flwr.common.serde import fab_to_proto
from flwr.proto.control_pb2 import StartRunRequest
from flwr.supercore.fab import Fab

from hanse.runtime.flower.control import Control
from hanse.runtime.flower.link import LinkAddress, control_client, secret_file
from tests.contract.runtime.server.rig import Rig, free_port

_PROJECT: Final = """\
[project]
name = "stock-rounds"
version = "1.0.0"
description = "The same exchange as hanse.runtime.apps.counting"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "hanse"

[tool.flwr.app.components]
serverapp = "stock_rounds.server:app"
clientapp = "stock_rounds.client:app"

[tool.flwr.app.config]
clients = 0
rounds = 0
times = ""
"""

_CLIENT: Final = """\
import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


def reply(message, with_arrays):
    arrays = {n: a.numpy() for n, a in message.content["arrays"].items()}
    content = RecordDict({"metrics": MetricRecord({"num-examples": 10, "loss": float(arrays["vector"].mean())})})
    if with_arrays:
        content["arrays"] = ArrayRecord({n: Array(a + np.float32(1)) for n, a in arrays.items()})
    return Message(content, reply_to=message)


@app.train()
def train(message, context):
    return reply(message, True)


@app.evaluate()
def evaluate(message, context):
    return reply(message, False)
"""

_SERVER: Final = """\
import time
import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


class Timed(FedAvg):
    def aggregate_evaluate(self, server_round, replies):
        result = super().aggregate_evaluate(server_round, replies)
        with open(self.times, "a") as file:
            file.write(f"{time.time()}\\n")
        return result


@app.main()
def main(grid, context):
    clients = context.run_config["clients"]
    strategy = Timed(min_available_nodes=clients, min_train_nodes=clients, min_evaluate_nodes=clients)
    strategy.times = context.run_config["times"]
    start = ArrayRecord({"vector": Array(np.zeros(4, np.float32))})
    strategy.start(grid=grid, initial_arrays=start, num_rounds=context.run_config["rounds"])
"""


def start(rig: Rig, rounds: int) -> Path:
    """Start everything and the run; the file that gets a time stamp after each round."""
    times = rig.root / "stock-times"
    times.touch()
    secret = secret_file(rig.paths)
    secret.write_text(hashlib.sha256(str(rig.root).encode()).hexdigest())
    # SuperNode and SuperExec look their helpers up by name.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    tools, tls, address = Path(sys.executable).parent, rig.paths.tls, f"127.0.0.1:{rig.config.superlink_port}"
    rig.start(
        "superlink",
        [
            str(tools / "flower-superlink"),
            *("--host", "127.0.0.1", "--port", str(rig.config.superlink_port), "--isolation", "process"),
            *("--database", str(rig.root / "stock.db"), "--enable-supernode-auth"),
            *("--ssl-ca-certfile", str(tls / "ca.crt")),
            *("--ssl-certfile", str(tls / "tls.crt"), "--ssl-keyfile", str(tls / "tls.key")),
            *("--superexec-auth-secret-file", str(secret), "--disable-runtime-dependency-installation"),
        ],
    )
    rig.wait_superlink()
    rig.start(
        "superexec",
        [
            *(str(tools / "flower-superexec"), "--runtime-api-address", address),
            *("--root-certificates", str(tls / "ca.crt"), "--superexec-auth-secret-file", str(secret)),
        ],
    )
    link = LinkAddress.of(rig.paths, rig.config)
    with Control(link) as control:
        control.register(rig.config.participants)
    for index in range(rig.clients):
        rig.start(
            f"supernode-{index}",
            [
                *(str(tools / "flower-supernode"), "--superlink", address, "--root-certificates", str(tls / "ca.crt")),
                *("--auth-supernode-private-key", str(_openssh_key(rig, index)), "--port", str(free_port())),
            ],
        )
    _submit(rig, link, rounds, times)
    return times


def _openssh_key(rig: Rig, index: int) -> Path:
    """The node's key in the form that flower-supernode reads."""
    path = rig.root / f"supernode-{index}.key"
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH
    key = serialization.load_pem_private_key(rig.node_keys[index].private.encode(), password=None)
    path.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return path


def _submit(rig: Rig, link: LinkAddress, rounds: int, times: Path) -> None:
    project = rig.root / "stock-app"
    package = project / "stock_rounds"
    package.mkdir(parents=True)
    settings = {"clients": rig.clients, "rounds": rounds, "times": f'"{times}"'}
    text = _PROJECT
    for name, value in settings.items():
        text = "\n".join(f"{name} = {value}" if line.startswith(f"{name} =") else line for line in text.splitlines())
    (project / "pyproject.toml").write_text(text)
    (package / "__init__.py").touch()
    (package / "client.py").write_text(_CLIENT)
    (package / "server.py").write_text(_SERVER)
    content = build_fab_from_disk(project)
    fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
    with control_client(link) as client:
        client.StartRun(StartRunRequest(fab=fab_to_proto(fab)))
