"""Built-in ClientApp for rows and columns: MLP or logistic regression with a binary label.

`spec.app.clientApp: hanse.runtime.apps.tabular:app` (the default). The trainer imports it, calls `preflight` and `warm`
once, and forks a child for each message. Config keys: `TabularSettings`; docs/apps.md explains them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from flwr.app import ConfigRecord, Context, Message, MetricRecord
from flwr.clientapp import ClientApp
from numpy.typing import NDArray
from torch import nn

from hanse.runtime.aggregation.statistics import Standardisation, standardise
from hanse.runtime.apps import training
from hanse.runtime.apps.scores import binary_metrics
from hanse.runtime.apps.settings import Settings, choice, number, units
from hanse.runtime.apps.split import evaluation_mask
from hanse.runtime.apps.table import Table, read_table

app = ClientApp()

#: What the trainer's parent process has read; its children inherit it and read nothing.
_TABLES: dict[tuple[str, str], Table] = {}


@dataclass(frozen=True)
class TabularSettings(Settings):
    """Keys of spec.app.config; `clip` bounds standardised values, far outliers carry no more weight than that."""

    model: str = "mlp"
    hidden_units: tuple[int, ...] = (64,)
    clip: float = 3.0

    PARSERS: ClassVar[dict[str, Callable[[Any], Any]]] = Settings.PARSERS | {
        "model": choice("mlp", "logistic"),
        "hidden_units": units,
        "clip": number(0.1, 1e6),
    }


def preflight(context: Context) -> None:
    """Raise AppSetupError when config or data are wrong; the trainer calls it before it serves."""
    training.check_device(TabularSettings.parse(context.run_config))
    _table(context)


def warm(context: Context) -> None:
    """Read the data once, so that the children need not; numpy only, called after `preflight`."""
    _table(context)


def build(features: int, settings: TabularSettings) -> nn.Sequential:
    """layer0 … layerN with ReLU between; one logit. Logistic regression is layer0 alone."""
    sizes = [features, *(settings.hidden_units if settings.model == "mlp" else ()), 1]
    module = nn.Sequential()
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        if index:
            module.add_module(f"relu{index}", nn.ReLU())
        module.add_module(f"layer{index}", nn.Linear(inputs, outputs))
    return module


@app.query("initial")
def initial(message: Message, context: Context) -> Message:
    """The first model, from the seed alone, and what the model file says about it."""
    settings, table = TabularSettings.parse(context.run_config), _table(context)
    training.prepare(settings)
    about = {
        "app": "tabular",
        "model": settings.model,
        "features": list(table.features),
        "label": table.label,
        "clip": settings.clip,
    }
    record = ConfigRecord({"statistics": True, "model": json.dumps(about, ensure_ascii=False)})
    return training.reply(message, arrays=training.arrays_of(build(len(table.features), settings)), app=record)


@app.query("statistics")
def statistics(message: Message, context: Context) -> Message:
    """Count, sums and sums of squares of the training records, for the federated standardisation."""
    settings, table = TabularSettings.parse(context.run_config), _table(context)
    values = table.values[~evaluation_mask(table.ids, settings.evaluation_fraction)].astype(np.float64)
    sums = MetricRecord(
        {
            "count": len(values),
            "sum": values.sum(axis=0).tolist(),
            "sum-squares": np.square(values).sum(axis=0).tolist(),
        }
    )
    schema = ConfigRecord({"features": list(table.features), "label": table.label})
    return training.reply(message, statistics=sums, schema=schema)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Local epochs on the training records."""
    settings, table = TabularSettings.parse(context.run_config), _table(context)
    device = training.prepare(settings)
    rows = ~evaluation_mask(table.ids, settings.evaluation_fraction)
    module = _model(message, table, settings).to(device)
    inputs = torch.from_numpy(standardised(table.values[rows], message, settings)).to(device)
    targets = torch.from_numpy(table.labels[rows]).to(device)
    return training.train_reply(module, _loss, (inputs, targets), settings, (message, context))


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """loss, auc, f1 and accuracy on the evaluation records; only `num-examples: 0` where there are none."""
    settings, table = TabularSettings.parse(context.run_config), _table(context)
    device = training.prepare(settings)
    rows = evaluation_mask(table.ids, settings.evaluation_fraction)
    metrics: dict[str, Any] = {"num-examples": int(rows.sum())}
    if rows.any():
        module = _model(message, table, settings).to(device)
        inputs = torch.from_numpy(standardised(table.values[rows], message, settings)).to(device)
        targets = torch.from_numpy(table.labels[rows])
        logits = training.outputs_of(module, inputs)
        metrics["loss"] = float(_loss(logits, targets))
        metrics |= binary_metrics(targets.numpy(), torch.sigmoid(logits[:, 0].double()).numpy())
    return training.reply(message, metrics=MetricRecord(metrics))


def standardised(values: NDArray[Any], message: Message, settings: TabularSettings) -> NDArray[np.float32]:
    """The values as the model takes them; unchanged when the server sends no statistics."""
    record = message.content.config_records.get("statistics")
    if record is None:
        return values.astype(np.float32)
    known = Standardisation(training.floats_of(record, "mean"), training.floats_of(record, "scale"))
    return standardise(values, known, clip=settings.clip)


def _loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], targets)


def _model(message: Message, table: Table, settings: TabularSettings) -> nn.Sequential:
    module = build(len(table.features), settings)
    training.load_arrays(module, message.content.array_records["arrays"])
    return module


def _table(context: Context) -> Table:
    schema = training.schema_of(context)
    key = (str(context.node_config["data-path"]), schema.model_dump_json())
    if key not in _TABLES:
        _TABLES[key] = read_table(Path(key[0]), schema)
    return _TABLES[key]
