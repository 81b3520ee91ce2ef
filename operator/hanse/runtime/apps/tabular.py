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

from hanse.api.participant import DatasetSchema
from hanse.api.privacy import PrivacyPlan
from hanse.runtime.aggregation.features import Encoding
from hanse.runtime.aggregation.statistics import Standardisation
from hanse.runtime.apps import ConfigError, DatasetError, training
from hanse.runtime.apps.counts import count_features, count_scores
from hanse.runtime.apps.scores import binary_metrics
from hanse.runtime.apps.settings import Settings, choice, number, units, whole
from hanse.runtime.apps.split import evaluation_mask
from hanse.runtime.apps.table import Table, read_table

app = ClientApp()

#: What the trainer's parent process has read; its children inherit it and read nothing.
_TABLES: dict[tuple[str, str], Table] = {}


@dataclass(frozen=True)
class TabularSettings(Settings):
    """Keys of spec.app.config; `clip` bounds standardised values, `pieces` cuts declared ranges."""

    model: str = "mlp"
    hidden_units: tuple[int, ...] = (64,)
    clip: float = 3.0
    pieces: int = 1

    PARSERS: ClassVar[dict[str, Callable[[Any], Any]]] = Settings.PARSERS | {
        "model": choice("mlp", "logistic"),
        "hidden_units": units,
        "clip": number(0.1, 1e6),
        "pieces": whole(1, 64),
    }


def preflight(context: Context) -> None:
    """Raise AppSetupError when config or data are wrong; the trainer calls it before it serves."""
    settings = TabularSettings.parse(context.run_config)
    training.check_device(settings)
    training.check_unit(context)
    schema, plan = training.schema_of(context), training.plan_of(context)
    encoding_of(schema, tuple(schema.features) or _table(context).features, settings, plan)
    _table(context)


def warm(context: Context) -> None:
    """Read the data once, so that the children need not; numpy only, called after `preflight`."""
    _table(context)


def encoding_of(
    schema: DatasetSchema, features: tuple[str, ...], settings: TabularSettings, plan: PrivacyPlan | None
) -> Encoding:
    """How the features become the model's inputs. Raises ConfigError or DatasetError for what cannot be."""
    missing = [name for name in features if name not in schema.ranges]
    if plan is not None and (missing or not schema.features):
        raise DatasetError(
            "the dataset's schema must list its features, and the range of each, in a job with differential privacy: "
            f"{', '.join(missing[:3]) or 'features'} missing"
        )
    if settings.pieces > 1 and missing:
        raise ConfigError(f"spec.app.config: pieces needs the range of each feature; {missing[0]} has none")
    if settings.pieces > 1 and plan is not None and plan.statistics is not None:
        raise ConfigError("spec.app.config: pieces are cut by ranges alone: remove it, or privacy's statistics")
    ranges = () if missing else tuple((float(r.low), float(r.high)) for r in (schema.ranges[n] for n in features))
    return Encoding(ranges, settings.pieces, settings.clip)


def build(inputs: int, settings: TabularSettings) -> nn.Sequential:
    """layer0 … layerN with ReLU between; one logit. Logistic regression is layer0 alone."""
    sizes = [inputs, *(settings.hidden_units if settings.model == "mlp" else ()), 1]
    module = nn.Sequential()
    for index, (before, after) in enumerate(pairwise(sizes)):
        if index:
            module.add_module(f"relu{index}", nn.ReLU())
        module.add_module(f"layer{index}", nn.Linear(before, after))
    return module


@app.query("initial")
def initial(message: Message, context: Context) -> Message:
    """The first model, from the seed alone, and what the model file says about it."""
    settings, schema = TabularSettings.parse(context.run_config), training.schema_of(context)
    training.prepare(settings)
    if not schema.features and not context.node_config["data-path"]:
        raise DatasetError("the dataset's schema must list its features: the first model is made without the data")
    features = tuple(schema.features) or _table(context).features
    encoding = encoding_of(schema, features, settings, training.plan_of(context))
    about = {
        "app": "tabular",
        "model": settings.model,
        "features": list(features),
        "label": schema.label,
        **encoding.about(),
    }
    # Ranges that the owner has declared scale the features without asking the data.
    record = ConfigRecord({"statistics": not encoding.ranges, "model": json.dumps(about, ensure_ascii=False)})
    module = build(encoding.columns(len(features)), settings)
    return training.reply(message, arrays=training.arrays_of(module), app=record)


@app.query("statistics")
def statistics(message: Message, context: Context) -> Message:
    """Count, sums and sums of squares of the training records, for the federated standardisation.

    With differential privacy: a histogram of each feature over its declared range.
    """
    settings, table, plan = TabularSettings.parse(context.run_config), _table(context), training.plan_of(context)
    values = table.values[~_kept_apart(table, settings, plan)].astype(np.float64)
    if plan is not None and plan.statistics is not None:
        shares = _encoding(context, table, settings).shares(values)
        return training.counts_reply(message, count_features(shares, plan.statistics.bins))
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
    """Local epochs on the training records; with unit Record the sum of clipped gradients."""
    settings, table, plan = TabularSettings.parse(context.run_config), _table(context), training.plan_of(context)
    device = training.prepare(settings)
    rows = ~_kept_apart(table, settings, plan)
    values = _inputs(message, context, table, rows)
    inputs, targets = torch.from_numpy(values).to(device), torch.from_numpy(table.labels[rows]).to(device)
    module = _model(message, inputs.shape[1], settings).to(device)
    if plan is not None and plan.unit == "Record":
        return training.train_private(module, _loss, (inputs, targets), plan, message)
    return training.train_reply(module, _loss, (inputs, targets), settings, (message, context))


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """loss, auc, f1 and accuracy on the evaluation records; only `num-examples: 0` where there are none.

    With differential privacy: histograms of scores and losses, of which the server computes the same.
    """
    settings, table, plan = TabularSettings.parse(context.run_config), _table(context), training.plan_of(context)
    device = training.prepare(settings)
    rows = _kept_apart(table, settings, plan)
    labels, logits = table.labels[rows], torch.zeros((0, 1))
    if rows.any():
        inputs = torch.from_numpy(_inputs(message, context, table, rows)).to(device)
        logits = training.outputs_of(_model(message, inputs.shape[1], settings).to(device), inputs)
    scores = torch.sigmoid(logits[:, 0].double()).numpy()
    if plan is not None and plan.evaluation is not None:
        return training.counts_reply(message, count_scores(labels, scores, plan.evaluation.bins))
    metrics: dict[str, Any] = {"num-examples": len(labels)}
    if rows.any():
        metrics["loss"] = float(_loss(logits, torch.from_numpy(labels)))
        metrics |= binary_metrics(labels, scores)
    return training.reply(message, metrics=MetricRecord(metrics))


def _kept_apart(table: Table, settings: TabularSettings, plan: PrivacyPlan | None) -> NDArray[np.bool_]:
    """The evaluation records; none where no metric will leave: then all are for training."""
    unused = plan is not None and plan.evaluation is None
    # With privacy one record more or less must not move the others from one side to the other.
    ids = table.ids if plan is None else table.own_ids
    return evaluation_mask(ids, 0.0 if unused else settings.evaluation_fraction)


def _encoding(context: Context, table: Table, settings: TabularSettings) -> Encoding:
    return encoding_of(training.schema_of(context), table.features, settings, training.plan_of(context))


def _inputs(message: Message, context: Context, table: Table, rows: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The rows as the model takes them, with the statistics that the server sends, if any."""
    encoding = _encoding(context, table, TabularSettings.parse(context.run_config))
    record = message.content.config_records.get("statistics")
    known = None
    if record is not None:
        known = Standardisation(training.floats_of(record, "mean"), training.floats_of(record, "scale"))
    return encoding.apply(table.values[rows], known)


def _loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], targets)


def _model(message: Message, inputs: int, settings: TabularSettings) -> nn.Sequential:
    module = build(inputs, settings)
    training.load_arrays(module, message.content.array_records["arrays"])
    return module


def _table(context: Context) -> Table:
    schema = training.schema_of(context)
    key = (str(context.node_config["data-path"]), schema.model_dump_json())
    if key not in _TABLES:
        _TABLES[key] = read_table(Path(key[0]), schema)
    return _TABLES[key]
