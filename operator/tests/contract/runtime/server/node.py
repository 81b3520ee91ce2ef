"""A participant in one small process: the gate's fleet link and a numpy app, without gate and trainer.

Run as `python node.py ADDRESS CA KEY INDEX [--fail-at ROUND]`. For tests and profiles of the server side.
"""

import argparse
import ssl
import time
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from hanse.api.replies import ReplyCode
from hanse.runtime.flower.fleet import FleetError, FleetLink, NodeUnknown, ServerAway


def answer(kind: str, asked: RecordDict, index: int, fail_at: int) -> RecordDict | ReplyCode:
    """Deterministic: moves the model towards (index + 1) with an error that depends on the round."""
    content = RecordDict()
    if kind == "query.initial":
        content["arrays"] = ArrayRecord({"w": Array(np.zeros(8, np.float32)), "b": Array(np.ones(2, np.float32))})
        content["app"] = ConfigRecord({"statistics": False, "model": "{}"})
        return content
    if kind == "query.hanse_end":
        return content
    number = int(str(asked.config_records["config"]["server-round"]))
    if kind == "train" and number == fail_at:
        return ReplyCode.APP_ERROR
    arrays = {name: array.numpy() for name, array in asked.array_records["arrays"].items()}
    target = np.float32(index + 1 + 0.125 * number)
    loss = float(sum(np.square(a - target).mean() for a in arrays.values()))
    if kind == "train":
        moved = {name: (a + (target - a) * np.float32(0.3)).astype(a.dtype) for name, a in arrays.items()}
        content["arrays"] = ArrayRecord({name: Array(a) for name, a in moved.items()})
    content["metrics"] = MetricRecord({"num-examples": 10 * (index + 1), "loss": loss})
    return content


def serve(arguments: argparse.Namespace) -> None:
    """Come online, answer until the end-of-job message."""
    context = ssl.create_default_context(cafile=arguments.ca)
    link = FleetLink(arguments.address, context, Path(arguments.key).read_bytes())
    active, beat = False, 0.0
    while True:
        try:
            if not active:
                link.activate()
                active = True
            elif time.monotonic() > beat:
                link.heartbeat()
                beat = time.monotonic() + 5.0
            if (letter := link.pull()) is None:
                time.sleep(0.005)
                continue
            while (content := link.fetch(letter)) is None:
                time.sleep(0.01)
            kind = letter.message_type
            reply = answer(kind, content, arguments.index, arguments.fail_at)
            link.push(link.compose(letter.origin, reply, 0.0))
            if kind == "query.hanse_end":
                print("end of job", flush=True)
                return
        except ServerAway:
            time.sleep(0.1)
        except NodeUnknown:
            # Not registered yet, or offline for the server.
            active = False
            time.sleep(0.1)
        except FleetError as error:
            print(error, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("address", "ca", "key"):
        parser.add_argument(name)
    parser.add_argument("index", type=int)
    parser.add_argument("--fail-at", type=int, default=0)
    serve(parser.parse_args())


if __name__ == "__main__":
    main()
