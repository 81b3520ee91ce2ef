"""Predictions from a model file alone, in numpy alone: `hanse model predict`, the demo, benchmarks and tests call it.

The file's metadata key `hanse` (see `describe`) holds what the ClientApp said about the model and the standardisation;
the weights are the file's arrays. Equality with torch's own forward pass is tested (operator/tests/torch).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.aggregation import convolution
from hanse.runtime.aggregation.arrays import Arrays
from hanse.runtime.aggregation.model import ModelFileError, read_model
from hanse.runtime.aggregation.statistics import Standardisation, standardise

#: Metadata key of the model file's header.
METADATA_KEY: Final = "hanse"


def describe(model: str, standardisation: Standardisation | None, **more: Any) -> dict[str, str]:
    """Metadata of a model file: the ClientApp's own JSON (`model`), mean and scale, and what else should be known.

    `more` are JSON-ready facts, for example job, round and metrics. Raises ValueError when `model` is no JSON object.
    """
    about = json.loads(model or "{}")
    if not isinstance(about, dict):
        raise ValueError("the app's description of its model is not a JSON object")
    if standardisation is not None:
        about |= {"mean": standardisation.mean, "scale": standardisation.scale}
    return {METADATA_KEY: json.dumps(about | more, ensure_ascii=False, sort_keys=True)}


@dataclass(frozen=True)
class Predictor:
    """A model that was read from a file; `about` is what its header says."""

    arrays: Arrays
    about: Mapping[str, Any]

    @property
    def app(self) -> str:
        """`tabular` or `vision`."""
        return str(self.about["app"])

    @property
    def features(self) -> list[str]:
        """Names of the columns, in the model's order (tabular only)."""
        return [str(name) for name in self.about.get("features", [])]

    @property
    def label(self) -> str:
        """Name of what is predicted."""
        return str(self.about.get("label", ""))

    def scores(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Tabular: [rows, features] in the units of the data -> probability of the label, [rows]."""
        values = np.asarray(values, np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.features):
            raise ValueError(f"the model takes rows of {len(self.features)} features")
        if "mean" in self.about:
            by = Standardisation(self.about["mean"], self.about["scale"])
            values = standardise(values, by, clip=float(self.about["clip"]))
        return _sigmoid(dense(self.arrays, values.astype(np.float32))[:, 0])

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """Rows by column name, as `csv.DictReader` gives them -> [rows, features]; other columns do not matter.

        Raises ValueError that names a column that is missing or not a number.
        """
        result = np.empty((len(rows), len(self.features)))
        for i, row in enumerate(rows):
            for j, name in enumerate(self.features):
                try:
                    result[i, j] = float(row[name])
                except KeyError:
                    raise ValueError(f"row {i + 1} has no column {name}") from None
                except (TypeError, ValueError):
                    raise ValueError(f"row {i + 1}: column {name} is not a number") from None
        return result

    def classes(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """Vision: [n, h, w], [n, h, w, c] or [n, c, h, w] (whole numbers 0..255) -> [n, classes] probabilities."""
        pixels = convolution.as_pixels(images, int(self.about["size"]))
        hidden = convolution.features(self.arrays, pixels, groups=int(self.about["groups"]))
        logits = dense(self.arrays, hidden).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        return np.asarray(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))


def load_predictor(path: Path) -> Predictor:
    """The model file at `path`. Raises ModelFileError when it is damaged or of an app that is not built in."""
    return predictor(*read_model(path))


def predictor(arrays: Arrays, metadata: Mapping[str, str]) -> Predictor:
    """A Predictor from arrays and metadata as `read_model` returns them. Raises ModelFileError."""
    try:
        about = json.loads(metadata[METADATA_KEY])
        if about["app"] not in ("tabular", "vision"):
            raise ModelFileError(f"a model of the app {about['app']} is not one that hanse can predict with")
    except (KeyError, ValueError, TypeError) as error:
        raise ModelFileError("the model file does not say how to predict: it is not of a built-in app") from error
    return Predictor(arrays, about)


def dense(arrays: Arrays, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """layer0, ReLU, layer1, … as in `torch.nn.Linear`; the last one without ReLU."""
    count = sum(1 for name in arrays if name.startswith("layer") and name.endswith(".weight"))
    for index in range(count):
        values = values @ arrays[f"layer{index}.weight"].T + arrays[f"layer{index}.bias"]
        if index < count - 1:
            values = np.maximum(values, 0)
    return values


def _sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    logits = logits.astype(np.float64)
    return np.asarray(np.where(logits >= 0, 1 / (1 + np.exp(-np.abs(logits))), 1 - 1 / (1 + np.exp(-np.abs(logits)))))
