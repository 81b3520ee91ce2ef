"""A ClientApp without torch for fault tests and benchmarks: adds one to each element, and misbehaves when told to.

Run config: `size` (elements of the one array, default 4); `fail` with `fail-round`, `fail-participant` (an index,
default all) and `seconds`; or `fail` in the config of a message. `fail` is one of exception, nan-update, nan-metric,
wrong-shape, wrong-name, extra-record, exit, sys-exit, kill, orphan, oom, hang, slow, dataset, preflight,
preflight-config, preflight-bug. (For an import error ask for `counting:missing`.) It strikes in train, with
`fail-evaluate` in evaluate too.

The metric `calls` counts the calls of this process: always 1, because every message has a process of its own;
`state_calls` counts them in Context.state. In a private job (`privacy` in node_config) train tells `num-examples` alone
and evaluate counts ten records in the histograms that the gate expects.
"""

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any, Final

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from hanse.runtime.apps import ConfigError, DatasetError

app = ClientApp()
#: Would survive between messages if they shared a process.
calls = 0
OOM_STEP: Final = 32 << 20


def preflight(context: Context) -> None:
    """Refuses what `fail` says: `preflight` the dataset, `preflight-config` the config, `preflight-bug` is a bug."""
    fault = context.run_config.get("fail") if _is_meant(context) else ""
    if fault == "preflight":
        raise DatasetError("column 'label' is not there; columns are: a, b")
    if fault == "preflight-config":
        raise ConfigError("size is no number")
    if fault == "preflight-bug":
        raise ZeroDivisionError("division by zero")


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
    fault = _fault(message, context) if with_arrays or context.run_config.get("fail-evaluate") else ""
    _act(fault, float(context.run_config.get("seconds", 60)))
    (received,) = message.content.array_records.values()
    values = {name: array.numpy() for name, array in received.items()}
    mean = float(np.mean([value.mean() for value in values.values()]))
    plan = json.loads(str(context.node_config.get("privacy", "")) or "null")
    metrics: dict[str, int | float | list[int] | list[float]] = {
        "num-examples": (index + 1) * 10,
        "loss": mean,
        "value": float("nan") if fault == "nan-metric" else mean,
        "calls": calls,
        "state_calls": _state_calls(context),
        "pid": os.getpid(),
    }
    if plan is not None:
        metrics = {"num-examples": metrics["num-examples"]} | ({"train_loss": np.nan} if fault == "nan-metric" else {})
    content = RecordDict({"metrics": MetricRecord(metrics)})
    if plan is not None and not with_arrays:
        content["histograms"] = _histograms(plan)
    if with_arrays:
        new = {name: value + np.asarray(index + 1, value.dtype) for name, value in values.items()}
        content["arrays"] = ArrayRecord({name: Array(value) for name, value in _spoil(new, fault).items()})
    if fault == "extra-record":
        content["secret"] = ConfigRecord({"row": "42"})
    return Message(content, reply_to=message)


def _histograms(plan: dict[str, Any]) -> ArrayRecord:
    """Five records of either label that are told apart well, with small losses."""
    bins = int(plan.get("evaluation", {}).get("bins", 2))
    scores, loss = np.zeros((2, bins), np.int64), np.zeros((1, bins), np.int64)
    scores[0, 0], scores[1, -1], loss[0, 0] = 5, 5, 10
    return ArrayRecord({"scores": Array(scores), "loss": Array(loss)})


def _state_calls(context: Context) -> int:
    record = context.state.get("counting")
    return int(str(record["calls"])) if isinstance(record, MetricRecord) else 0


def _is_meant(context: Context) -> bool:
    """Whether this participant is to misbehave."""
    return context.run_config.get("fail-participant", -1) in (-1, context.node_config["partition-id"])


def _fault(message: Message, context: Context) -> str:
    """The misbehaviour that is asked of this participant in this round; a message may ask for one too."""
    record = message.content.get("config")
    config = dict(record) if isinstance(record, ConfigRecord) else {}
    if "fail" in config:
        return str(config["fail"])
    due = context.run_config.get("fail-round", 0) in (0, config.get("server-round", 0))
    return str(context.run_config.get("fail", "")) if due and _is_meant(context) else ""


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
    if fault == "orphan":
        # A process that has left the app's session: it must not live on either.
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        os._exit(0)
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
