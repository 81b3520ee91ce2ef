"""Built-in ClientApp for small images: a CNN with group normalisation (batch statistics do not average across owners).

`spec.app.clientApp: hanse.runtime.apps.vision:app`. The trainer imports it, calls `preflight` and `warm` once, and
forks a child for each message. Config keys: `VisionSettings`; docs/apps.md explains them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from flwr.app import ConfigRecord, Context, Message, MetricRecord
from flwr.clientapp import ClientApp
from torch import nn

from hanse.runtime.apps import ConfigError, training
from hanse.runtime.apps.images import Images, read_images
from hanse.runtime.apps.scores import accuracy, macro_f1
from hanse.runtime.apps.settings import Settings, whole
from hanse.runtime.apps.split import evaluation_mask

app = ClientApp()

#: What the trainer's parent process has read; its children inherit it and read nothing.
_IMAGES: dict[tuple[str, str, str], Images] = {}


@dataclass(frozen=True)
class VisionSettings(Settings):
    """Keys of spec.app.config; size, channels and classes are what every participant's data must have."""

    batch_size: int = 32
    momentum: float = 0.9
    image_size: int = 28
    channels: int = 1
    classes: int = 10
    filters: int = 16

    PARSERS: ClassVar[dict[str, Callable[[Any], Any]]] = Settings.PARSERS | {
        "image_size": whole(8, 256),
        "channels": whole(1, 16),
        "classes": whole(2, 1000),
        "filters": whole(4, 256),
    }


def preflight(context: Context) -> None:
    """Raise AppSetupError when config or data are wrong; the trainer calls it before it serves."""
    settings = VisionSettings.parse(context.run_config)
    training.check_device(settings)
    training.check_unit(context)
    plan = training.plan_of(context)
    if plan is not None and (plan.statistics is not None or plan.evaluation is not None):
        raise ConfigError("the vision app counts nothing: remove privacy's statistics and evaluation")
    _images(context, settings)


def warm(context: Context) -> None:
    """Read the data once, so that the children need not; numpy only, called after `preflight`."""
    _images(context, VisionSettings.parse(context.run_config))


def build(settings: VisionSettings) -> nn.Sequential:
    """Two convolutions with group normalisation and pooling, one hidden layer. Names are those of the model file."""
    filters, side = settings.filters, settings.image_size // 4
    module = nn.Sequential()
    for name, layer in (
        ("conv0", nn.Conv2d(settings.channels, filters, 3, padding=1)),
        ("norm0", nn.GroupNorm(4, filters)),
        ("relu0", nn.ReLU()),
        ("pool0", nn.MaxPool2d(2)),
        ("conv1", nn.Conv2d(filters, 2 * filters, 3, padding=1)),
        ("norm1", nn.GroupNorm(4, 2 * filters)),
        ("relu1", nn.ReLU()),
        ("pool1", nn.MaxPool2d(2)),
        ("flatten", nn.Flatten()),
        ("layer0", nn.Linear(2 * filters * side * side, 64)),
        ("relu2", nn.ReLU()),
        ("layer1", nn.Linear(64, settings.classes)),
    ):
        module.add_module(name, layer)
    return module


@app.query("initial")
def initial(message: Message, context: Context) -> Message:
    """The first model, from the seed alone, and what the model file says about it."""
    settings = VisionSettings.parse(context.run_config)
    training.prepare(settings)
    about = {
        "app": "vision",
        "size": settings.image_size,
        "channels": settings.channels,
        "classes": settings.classes,
        "groups": 4,
        "label": training.schema_of(context).label,
    }
    record = ConfigRecord({"statistics": False, "model": json.dumps(about, ensure_ascii=False)})
    return training.reply(message, arrays=training.arrays_of(build(settings)), app=record)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Local epochs on the training images; with unit Record the sum of clipped gradients."""
    settings, plan = VisionSettings.parse(context.run_config), training.plan_of(context)
    images = _images(context, settings)
    device = training.prepare(settings)
    # No metric leaves a private job of this app: all images are for training.
    rows = ~evaluation_mask(images.ids, settings.evaluation_fraction if plan is None else 0.0)
    module = _model(message, settings).to(device)
    inputs = torch.from_numpy(images.pixels[rows]).to(device)
    targets = torch.from_numpy(images.labels[rows]).to(device)
    if plan is not None and plan.unit == "Record":
        return training.train_private(module, nn.functional.cross_entropy, (inputs, targets), plan, message)
    return training.train_reply(module, nn.functional.cross_entropy, (inputs, targets), settings, (message, context))


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """loss, accuracy and macro f1 on the evaluation images; only `num-examples: 0` where there are none."""
    settings = VisionSettings.parse(context.run_config)
    images = _images(context, settings)
    device = training.prepare(settings)
    rows = evaluation_mask(images.ids, settings.evaluation_fraction)
    metrics: dict[str, Any] = {"num-examples": int(rows.sum())}
    if rows.any():
        module = _model(message, settings).to(device)
        logits = training.outputs_of(module, torch.from_numpy(images.pixels[rows]).to(device))
        labels = images.labels[rows]
        predicted = logits.argmax(dim=1).numpy()
        metrics["loss"] = float(nn.functional.cross_entropy(logits, torch.from_numpy(labels)))
        metrics |= {"accuracy": accuracy(labels, predicted), "f1": macro_f1(labels, predicted)}
    return training.reply(message, metrics=MetricRecord(metrics))


def _model(message: Message, settings: VisionSettings) -> nn.Sequential:
    module = build(settings)
    training.load_arrays(module, message.content.array_records["arrays"])
    return module


def _images(context: Context, settings: VisionSettings) -> Images:
    schema = training.schema_of(context)
    shape = {"channels": settings.channels, "size": settings.image_size, "classes": settings.classes}
    key = (str(context.node_config["data-path"]), schema.model_dump_json(), json.dumps(shape))
    if key not in _IMAGES:
        _IMAGES[key] = read_images(Path(key[0]), schema, **shape)
    return _IMAGES[key]
