"""A participant in one small process: Flower's own fleet connection and a numpy app, without gate and trainer.

Run as `python node.py ADDRESS CA KEY INDEX [--fail-at ROUND]`. For tests and profiles of the server side.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supernode.fleet_http_connection import http_request_response
from hanse.api.replies import ReplyCode


def answer(message: Message, index: int, fail_at: int) -> Message:
    """Deterministic: moves the model towards (index + 1) with an error that depends on the round."""
    kind = message.metadata.message_type
    content = RecordDict()
    if kind == "query.initial":
        content["arrays"] = ArrayRecord({"w": Array(np.zeros(8, np.float32)), "b": Array(np.ones(2, np.float32))})
        content["app"] = ConfigRecord({"statistics": False, "model": "{}"})
        return Message(content, reply_to=message)
    if kind == "query.hanse_end":
        return Message(content, reply_to=message)
    config = message.content["config"]
    number = int(config["server-round"])
    if kind == "train" and number == fail_at:
        return Message(Error(code=int(ReplyCode.APP_ERROR), reason=""), reply_to=message)
    arrays = {name: array.numpy() for name, array in message.content["arrays"].items()}
    target = index + 1 + 0.125 * number
    loss = float(sum(np.square(a - target).mean() for a in arrays.values()))
    if kind == "train":
        moved = {name: (a + (target - a) * np.float32(0.3)).astype(a.dtype) for name, a in arrays.items()}
        content["arrays"] = ArrayRecord({name: Array(a) for name, a in moved.items()})
    content["metrics"] = MetricRecord({"num-examples": 10 * (index + 1), "loss": loss})
    return Message(content, reply_to=message)


def serve(arguments: argparse.Namespace) -> None:
    """Poll, answer, push; until the end-of-job message."""
    key = load_pem_private_key(Path(arguments.key).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    with http_request_response(arguments.address, False, arguments.ca, (key, key.public_key())) as (
        _,
        receive,
        send,
        _run,
        _fab,
        pull_object,
        push_object,
        confirm,
    ):
        ended = False
        while not ended:
            if (found := receive()) is None:
                time.sleep(0.01)
                continue
            message, tree = found
            run_id, message_id = message.metadata.run_id, message.metadata.message_id
            contents = {}
            for node in iterate_object_tree(tree):
                contents[node.object_id] = pull_object(run_id, node.object_id)
            confirm(run_id, message_id)
            inflated = inflate_object_from_contents(message_id, contents)
            assert isinstance(inflated, Message)
            inflated.metadata.__dict__["_message_id"] = message_id
            reply = answer(inflated, arguments.index, arguments.fail_at)
            ended = inflated.metadata.message_type == "query.hanse_end"
            with no_object_id_recompute():
                reply.metadata.__dict__["_message_id"] = reply.object_id
                objects = get_all_nested_objects(reply)
                wanted, session = send(reply, get_object_tree(reply), 0.0)
                for object_id in wanted:
                    push_object(run_id, session, object_id, objects[object_id].deflate())
        print("end of job", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("address", "ca", "key"):
        parser.add_argument(name)
    parser.add_argument("index", type=int)
    parser.add_argument("--fail-at", type=int, default=0)
    serve(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
