"""A ClientApp whose updates the test knows beforehand: noise from a seed of participant and round.

Run config: `hold`, a file; participant 2 has its update of round 1 ready and waits until the file is there, so that the
server has the others' updates meanwhile. Every participant has (index + 1) * 10 records.
"""

import time
from pathlib import Path
from typing import Final

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

SIZE: Final = 20_000
HOLDER: Final = 2

app = ClientApp()


def records(index: int) -> int:
    return 10 * (index + 1)


def update(index: int, number: int) -> NDArray[np.float32]:
    """What the participant adds to the model in a round; magnitudes are well under 0.5."""
    return np.random.default_rng([7, index, number]).normal(scale=0.05, size=SIZE).astype(np.float32)


@app.query("initial")
def initial(message: Message, context: Context) -> Message:
    """Zeros: a model after one round of training is the update."""
    arrays = ArrayRecord({"vector": Array(np.zeros(SIZE, np.float32))})
    about = ConfigRecord({"statistics": False, "model": '{"app": "known"}'})
    return Message(RecordDict({"arrays": arrays, "app": about}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """The model plus the known update."""
    index = int(context.node_config["partition-id"])
    number = int(str(message.content.config_records["config"]["server-round"]))
    change = update(index, number)
    while index == HOLDER and number == 1 and not Path(str(context.run_config["hold"])).exists():
        time.sleep(0.05)
    (received,) = message.content.array_records.values()
    arrays = ArrayRecord({name: Array(array.numpy() + change) for name, array in received.items()})
    return Message(RecordDict({"arrays": arrays, "metrics": _metrics(index)}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """A constant loss."""
    return Message(RecordDict({"metrics": _metrics(int(context.node_config["partition-id"]))}), reply_to=message)


def _metrics(index: int) -> MetricRecord:
    return MetricRecord({"num-examples": records(index), "loss": 1.0})
