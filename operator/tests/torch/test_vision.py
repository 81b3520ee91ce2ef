"""The vision ClientApp, through its messages, on digits made of bars."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context

from hanse.api.participant import DatasetSchema
from hanse.runtime.aggregation import arrays_digest
from hanse.runtime.aggregation.model import read_model, write_model
from hanse.runtime.aggregation.predict import predictor
from hanse.runtime.apps import ConfigError, DatasetError, vision

SCHEMA = DatasetSchema(id="ids", label="labels", features=["images"])
CONFIG: dict[str, Any] = {"image-size": 12, "classes": 3, "filters": 8, "batch-size": 16, "learning-rate": 0.05}
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
Ask = Callable[..., Any]
Where = Callable[..., Context]


def bars(count: int, seed: int) -> tuple[Any, Any]:
    """Images with a horizontal, a vertical or a diagonal bar, and which."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 40, size=(count, 12, 12)).astype(np.uint8)
    labels = generator.integers(0, 3, count).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        place = generator.integers(2, 10)
        if label == 0:
            image[place] = 255
        elif label == 1:
            image[:, place] = 255
        else:
            np.fill_diagonal(image, 255)
    return images, labels


@pytest.fixture
def data(tmp_path: Path) -> Path:
    images, labels = bars(300, 0)
    np.savez(tmp_path / "scans.npz", images=images, labels=labels, ids=np.arange(300))
    return tmp_path / "scans.npz"


def plain(record: ArrayRecord) -> dict[str, Any]:
    return {name: array.numpy() for name, array in record.items()}


def train(ask: Ask, where: Context, arrays: ArrayRecord, number: int) -> Any:
    return ask(vision.app, "train", where, arrays=arrays, config=ConfigRecord({"server-round": number}))


@pytest.mark.parametrize("device", DEVICES)
def test_it_learns_and_the_file_alone_predicts_what_torch_does(
    ask: Ask, context: Where, data: Path, tmp_path: Path, device: str
) -> None:
    where = context(data, SCHEMA, CONFIG | {"device": device})
    initial = ask(vision.app, "query.initial", where)
    assert initial["app"]["statistics"] is False
    arrays = initial["arrays"]
    for number in range(1, 7):
        reply = train(ask, where, arrays, number)
        arrays = reply["arrays"]
    metrics = ask(vision.app, "evaluate", where, arrays=arrays, config=ConfigRecord({"server-round": 6}))["metrics"]
    assert set(metrics) == {"num-examples", "loss", "accuracy", "f1"}
    assert metrics["accuracy"] > 0.95
    assert metrics["num-examples"] + reply["metrics"]["num-examples"] == 300

    write_model(tmp_path / "m.safetensors", plain(arrays), {"hanse": str(initial["app"]["model"])})
    images, labels = bars(100, 1)
    module = vision.build(vision.VisionSettings.parse(CONFIG))
    module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in plain(arrays).items()})
    with torch.no_grad():
        expected = module(torch.from_numpy(images[:, None].astype(np.float32) / 255)).softmax(dim=1).numpy()
    found = predictor(*read_model(tmp_path / "m.safetensors")).classes(images)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (found.argmax(axis=1) == labels).mean() > 0.95


def test_equal_messages_give_equal_bits(ask: Ask, context: Where, data: Path) -> None:
    where = context(data, SCHEMA, CONFIG)
    arrays = ask(vision.app, "query.initial", where)["arrays"]
    first, again, other = (arrays_digest(plain(train(ask, where, arrays, n)["arrays"])) for n in (1, 1, 2))
    assert first == again != other


def test_no_buffer_depends_on_the_batches(ask: Ask, context: Where, data: Path) -> None:
    module = vision.build(vision.VisionSettings.parse(CONFIG))
    assert not list(module.buffers())
    about = json.loads(ask(vision.app, "query.initial", context(data, SCHEMA, CONFIG))["app"]["model"])
    assert (about["app"], about["size"], about["classes"]) == ("vision", 12, 3)


def test_preflight_names_what_is_wrong(context: Where, data: Path) -> None:
    vision.preflight(context(data, SCHEMA, CONFIG))
    vision.warm(context(data, SCHEMA, CONFIG))
    with pytest.raises(DatasetError, match=r"1x12x12 .* 1x28x28"):
        vision.preflight(context(data, SCHEMA, CONFIG | {"image-size": 28}))
    with pytest.raises(DatasetError, match="did you mean labels"):
        vision.preflight(context(data, SCHEMA.model_copy(update={"label": "label"}), CONFIG))
    with pytest.raises(ConfigError, match="classes must be"):
        vision.preflight(context(data, SCHEMA, CONFIG | {"classes": 1}))
