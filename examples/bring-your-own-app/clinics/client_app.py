"""The ClientApp, as `flwr new` writes it: nothing of Hanse is imported."""

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from clinics import task

app = ClientApp()


def load(context: Context) -> tuple[task.Floats, task.Floats]:
    """This clinic's data: its own file in a deployment, a share of one file in a simulation."""
    node = context.node_config
    if "data-path" in node:
        return task.load_data(str(node["data-path"]))
    path = str(context.run_config["simulation-data"])
    return task.load_partition(path, int(node["partition-id"]), int(node["num-partitions"]))


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Train the model on local data."""
    (values, labels), _ = task.split(*load(context))
    config = context.run_config
    model, loss = task.train(
        msg.content["arrays"].to_numpy_ndarrays(),
        values,
        labels,
        int(config["local-epochs"]),
        float(config["learning-rate"]),
        seed=int(context.node_config["partition-id"]),
    )
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(labels)})
    return Message(RecordDict({"arrays": ArrayRecord(model), "metrics": metrics}), reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    """Evaluate the model on local data."""
    _, (values, labels) = task.split(*load(context))
    model: list[np.ndarray] = msg.content["arrays"].to_numpy_ndarrays()
    metrics = MetricRecord(
        {
            "loss": task.loss(model, values, labels),
            "accuracy": task.accuracy(model, values, labels),
            "num-examples": len(labels),
        }
    )
    return Message(RecordDict({"metrics": metrics}), reply_to=msg)
