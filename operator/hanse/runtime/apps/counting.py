"""A ClientApp without torch for fault tests and benchmarks: adds one to each element, and misbehaves when told to.

Run config: `size` (elements of the one array, default 4), `fail` with `fail-round`, `fail-participant` (an index,
default all) and `seconds`. `fail` is one of exception, nan-update, nan-metric, wrong-shape, wrong-name, extra-record,
exit, sys-exit, kill, oom, hang, slow, dataset, preflight. (For an import error ask for `counting:missing`.)
`calls` in the metrics counts the calls of this process: it is 1
for ever, because every message has a process of its own; `state_calls` counts them in Context.state.
"""

import os
import signal
import sys
import time
from typing import Final

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from hanse.runtime.apps import DatasetError

app = ClientApp()
#: Would survive between messages if they shared a process.
calls = 0
#: Round of the messages before round 1 (query).
BEFORE: Final = 0
OOM_STEP: Final = 32 << 20


def preflight(context: Context) -> None:
    """`fail=preflight` refuses the dataset."""
    if _fault(context, BEFORE, everywhere=True) == "preflight":
        raise DatasetError("column 'label' is not there; columns are: a, b")


@app.query("initial")
def initial(message: Message, context: Context) -> Message:
    """The first global model: zeros."""
    size = int(context.run_config.get("size", 4))
    arrays = ArrayRecord({"vector": Array(np.zeros(size, dtype=np.float32))})
    about = ConfigRecord({"statistics": False, "model": '{"app": "counting"}'})
    return Message(RecordDict({"arrays": arrays, "app": about}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Every element plus (partition-id + 1); (partition-id + 1) * 10 records."""
    return _reply(message, context, with_arrays=True)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """The mean of the model, as `value` and `loss`."""
    return _reply(message, context, with_arrays=False)


def _reply(message: Message, context: Context, *, with_arrays: bool) -> Message:
    global calls
    calls += 1
    index = int(context.node_config["partition-id"])
    seen = MetricRecord({"calls": _state_calls(context) + 1})
    context.state["counting"] = seen
    config = message.content.get("config")
    number = int(str(config.get("server-round", 0))) if isinstance(config, ConfigRecord) else 0
    fault = _fault(context, number) if with_arrays or context.run_config.get("fail-evaluate") else ""
    _act(fault, float(context.run_config.get("seconds", 60)))
    (received,) = message.content.array_records.values()
    values = {name: array.numpy() for name, array in received.items()}
    mean = float(np.mean([value.mean() for value in values.values()]))
    metrics: dict[str, int | float | list[int] | list[float]] = {
        "num-examples": (index + 1) * 10,
        "loss": mean,
        "value": float("nan") if fault == "nan-metric" else mean,
        "calls": calls,
        "state_calls": _state_calls(context),
        "pid": os.getpid(),
    }
    content = RecordDict({"metrics": MetricRecord(metrics)})
    if with_arrays:
        new = {name: value + np.asarray(index + 1, value.dtype) for name, value in values.items()}
        content["arrays"] = ArrayRecord({name: Array(value) for name, value in _spoil(new, fault).items()})
    if fault == "extra-record":
        content["secret"] = ConfigRecord({"row": "42"})
    return Message(content, reply_to=message)


def _state_calls(context: Context) -> int:
    record = context.state.get("counting")
    return int(str(record["calls"])) if isinstance(record, MetricRecord) else 0


def _fault(context: Context, number: int, *, everywhere: bool = False) -> str:
    """The misbehaviour that is asked of this participant in this round."""
    config = context.run_config
    who = config.get("fail-participant", -1)
    mine = who in (-1, context.node_config["partition-id"])
    at = config.get("fail-round", 0)
    return str(config.get("fail", "")) if mine and (everywhere or at in (0, number)) else ""


def _act(fault: str, seconds: float) -> None:
    if fault == "exception":
        raise ValueError("the app fails as it was told to")
    if fault == "dataset":
        raise DatasetError("column 'label' is not there; columns are: a, b")
    if fault == "exit":
        os._exit(0)
    if fault == "sys-exit":
        sys.exit(0)
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault in ("hang", "slow"):
        # A busy app does not sleep: it is the supervisor that must be able to end it.
        end = float("inf") if fault == "hang" else time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.05)
    if fault == "oom":
        held = []
        while True:
            held.append(np.ones(OOM_STEP, dtype=np.uint8))


def _spoil(arrays: dict[str, np.ndarray], fault: str) -> dict[str, np.ndarray]:
    if fault == "nan-update":
        return {name: np.full_like(value, np.nan) for name, value in arrays.items()}
    if fault == "wrong-shape":
        return {name: np.append(value, value[:1]) for name, value in arrays.items()}
    if fault == "wrong-name":
        return {f"{name}-other": value for name, value in arrays.items()}
    return arrays
