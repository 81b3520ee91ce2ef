"""A ClientApp of the contract tests, numpy alone: honest, or with one attack in one round by one participant.

Run config: `attack` in round 1, or `attacks`, one for each round (see `_ATTACKS`); participant 0 makes them. Honest
training adds 0.01 to each weight.
"""

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()
SIZE = 64
#: Stands for the owner's data: 32 bits that an attack tries to get out.
SECRET = 0xDEADBEEF


@app.query("initial")
def initial(message: Message, context: Context) -> Message:
    """Zeros, and a second layer that jobs may keep personal."""
    arrays = {"layer.weight": np.zeros(SIZE, np.float32), "head.bias": np.zeros(4, np.float32)}
    about = ConfigRecord({"statistics": False, "model": '{"app": "hostile"}'})
    return Message(RecordDict({"arrays": _arrays(arrays), "app": about}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Every weight plus 0.01."""
    received = {name: array.numpy() for name, array in message.content.array_records["arrays"].items()}
    config = dict(message.content.config_records["config"])
    arrays = {name: np.asarray(value + np.float32(0.01), value.dtype) for name, value in received.items()}
    content = RecordDict({"arrays": _arrays(arrays), "metrics": MetricRecord({"num-examples": 10, "train_loss": 0.5})})
    attack = _attack(context, int(config["server-round"]))
    if attack and context.node_config["partition-id"] == 0:
        _ATTACKS[attack](content, arrays)
    return Message(content, reply_to=message)


def _attack(context: Context, number: int) -> str:
    """`attack` in round 1, or the one of this round in the list `attacks`."""
    attacks = str(context.run_config.get("attacks", "")).split(",")
    if attacks != [""]:
        return attacks[number - 1] if number <= len(attacks) else ""
    return str(context.run_config.get("attack", "")) if number == 1 else ""


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Scores of ten records, as histograms of 8 bins."""
    scores = np.zeros((2, 8), np.int64)
    scores[0, 1], scores[1, 6] = 5, 5
    loss = np.zeros((1, 8), np.int64)
    loss[0, 2] = 10
    return Message(RecordDict({"histograms": _arrays({"scores": scores, "loss": loss})}), reply_to=message)


def _arrays(arrays: dict[str, np.ndarray]) -> ArrayRecord:
    return ArrayRecord({name: Array(value) for name, value in arrays.items()})


def _replace(content: RecordDict, arrays: dict[str, np.ndarray], change: Callable[[np.ndarray], np.ndarray]) -> None:
    content["arrays"] = _arrays(arrays | {"layer.weight": change(arrays["layer.weight"])})


def _spoil(value: Any) -> Callable[[RecordDict, dict[str, np.ndarray]], None]:
    def act(content: RecordDict, arrays: dict[str, np.ndarray]) -> None:
        _replace(content, arrays, lambda w: np.where(np.arange(w.size) == 3, np.float32(value), w).astype(np.float32))

    return act


def _shape(content: RecordDict, arrays: dict[str, np.ndarray]) -> None:
    _replace(content, arrays, lambda w: np.append(w, w[:1]))


def _dtype(content: RecordDict, arrays: dict[str, np.ndarray]) -> None:
    _replace(content, arrays, lambda w: w.astype(np.float64))


def _extra(content: RecordDict, arrays: dict[str, np.ndarray]) -> None:
    content["arrays"] = _arrays(arrays | {"rows": np.array([SECRET], np.int64)})


def _second_record(content: RecordDict, arrays: dict[str, np.ndarray]) -> None:
    content["more"] = _arrays({"rows": np.array([SECRET], np.int64)})


def _metric_name(content: RecordDict, arrays: dict[str, np.ndarray]) -> None:
    content["metrics"] = MetricRecord({"num-examples": 10, f"row-{SECRET}": 1.0})


def _metric_value(content: RecordDict, arrays: dict[str, np.ndarray]) -> None:
    content["metrics"] = MetricRecord({"num-examples": 10, "train_loss": float(SECRET), "auc": float(SECRET)})


def _hidden_metric(content: RecordDict, arrays: dict[str, np.ndarray]) -> None:
    """On the whitelist, so it passes the check; it must not leave all the same."""
    content["metrics"] = MetricRecord({"num-examples": SECRET, "train_loss": float(SECRET)})


def _config(content: RecordDict, arrays: dict[str, np.ndarray]) -> None:
    content["config"] = ConfigRecord({"row": str(SECRET)})


def _low_bits(content: RecordDict, arrays: dict[str, np.ndarray]) -> None:
    """32 bits in the lowest bits of 32 weights."""

    def hide(weights: np.ndarray) -> np.ndarray:
        words = weights.copy().view(np.uint32)
        words[:32] = (words[:32] & ~np.uint32(1)) | ((SECRET >> np.arange(32)) & 1).astype(np.uint32)
        return words.view(np.float32)

    _replace(content, arrays, hide)


def _large(content: RecordDict, arrays: dict[str, np.ndarray]) -> None:
    """An update whose length says something: far over the clip."""
    _replace(content, arrays, lambda w: np.full_like(w, 1e30))


def _size(content: RecordDict, arrays: dict[str, np.ndarray]) -> None:
    """A message whose size says something."""
    content["metrics"] = MetricRecord({"num-examples": 10, "train_loss": [0.0] * (SECRET % 1000)})


def _twice(content: RecordDict, arrays: dict[str, np.ndarray]) -> None:
    """A second reply through the gate's own socket, while the first is on its way."""
    from hanse.runtime.gate.address import gate_address
    from hanse.runtime.gate.frames import PROTOCOL, Connection, Frame

    root = Path(os.environ["TMPDIR"]).parent
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(1)
    try:
        with gate_address(root / "run/hanse") as address:
            sock.connect(address)
        connection = Connection(sock, 1)
        connection.send(Frame("hello", {"protocol": PROTOCOL, "flwr": "1.41.0"}))
        connection.recv()
    except Exception:  # the gate serves one trainer and does not answer a second
        content["metrics"] = MetricRecord({"num-examples": 10})
    else:
        content["config"] = ConfigRecord({"second": "welcome"})


def _dial(content: RecordDict, arrays: dict[str, np.ndarray]) -> None:
    """Talk to the SuperLink without the gate's key: plain TLS is all that this process has."""
    import ssl

    import httpx

    config = (Path(os.environ["TMPDIR"]).parent / "etc/hanse/config/client.json").read_text()
    address = config.partition('"serverAddress":"')[2].partition('"')[0]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with httpx.Client(verify=context, trust_env=False) as client:
        answer = client.post(f"https://{address}/v1/fleet/pull-messages", content=struct.pack(">I", SECRET))
    if answer.status_code < 400:
        content["config"] = ConfigRecord({"dialled": str(answer.status_code)})


_ATTACKS: dict[str, Callable[[RecordDict, dict[str, np.ndarray]], None]] = {
    "nan": _spoil(np.nan),
    "infinity": _spoil(np.inf),
    "shape": _shape,
    "dtype": _dtype,
    "extra": _extra,
    "second-record": _second_record,
    "metric-name": _metric_name,
    "metric-value": _metric_value,
    "hidden-metric": _hidden_metric,
    "config": _config,
    "low-bits": _low_bits,
    "large": _large,
    "size": _size,
    "twice": _twice,
    "dial": _dial,
}
