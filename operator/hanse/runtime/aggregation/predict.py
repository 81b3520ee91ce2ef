"""Predictions from a model file alone, in numpy alone: `hanse model predict`, the demo, benchmarks and tests call it.

The file's metadata has two keys with JSON: `hanse`, what the ClientApp said about its model, and `statistics`, the mean
and scale of each feature; the weights are the file's arrays. Equality with torch's own forward pass is tested
(operator/tests/torch).

usage: python -m hanse.runtime.aggregation.predict MODEL (--row 1,2,… | --csv FILE | --npz FILE)
"""

import argparse
import csv
import gzip
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.aggregation import convolution
from hanse.runtime.aggregation.arrays import Arrays
from hanse.runtime.aggregation.features import Encoding
from hanse.runtime.aggregation.model import ModelFileError, read_model
from hanse.runtime.aggregation.statistics import Standardisation

#: Metadata keys of the model file's header, JSON each.
ABOUT_KEY: Final = "hanse"
STATISTICS_KEY: Final = "statistics"


@dataclass(frozen=True)
class Predictor:
    """A model that was read from a file; `about` is what its header says."""

    arrays: Arrays
    about: Mapping[str, Any]
    standardisation: Standardisation | None = None

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
        inputs = Encoding.of(self.about).apply(values, self.standardisation)
        return _sigmoid(dense(self.arrays, inputs)[:, 0])

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
        about = json.loads(metadata[ABOUT_KEY])
        if about["app"] not in ("tabular", "vision"):
            raise ModelFileError(f"a model of the app {about['app']} is not one that hanse can predict with")
        known = json.loads(metadata.get(STATISTICS_KEY, "null"))
        standardisation = Standardisation(known["mean"], known["scale"]) if known else None
    except (KeyError, ValueError, TypeError) as error:
        raise ModelFileError("the model file does not say how to predict: it is not of a built-in app") from error
    return Predictor(arrays, about, standardisation)


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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; an error is one line on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m hanse.runtime.aggregation.predict", description="Predict.")
    parser.add_argument("model", type=Path)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--row", help="values in the order of the model's features, comma-separated")
    what.add_argument("--csv", type=Path, help="CSV or CSV.gz with a header; further columns are passed over")
    what.add_argument("--npz", type=Path, help="npz with an array `images`")
    options = parser.parse_args(arguments)
    try:
        for line in _lines(load_predictor(options.model), options):
            print(line)
    except (ModelFileError, ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _lines(model: Predictor, options: argparse.Namespace) -> Iterator[str]:
    if model.app == "vision" and options.npz is None:
        raise ValueError("an image model takes --npz")
    if model.app == "tabular" and options.npz is not None:
        raise ValueError("a tabular model takes --row or --csv")
    if options.npz is not None:
        with np.load(options.npz, allow_pickle=False) as file:
            probabilities = model.classes(file["images"])
        yield f"image,{model.label},probability"
        for index, chosen in enumerate(probabilities.argmax(axis=1)):
            yield f"{index},{chosen},{probabilities[index, chosen]:.4f}"
        return
    if options.row is not None:
        given = options.row.split(",")
        if len(given) != len(model.features):
            raise ValueError(f"--row has {len(given)} values, the model takes {len(model.features)}: " + _named(model))
        rows: list[Mapping[str, Any]] = [dict(zip(model.features, given, strict=True))]
    else:
        with gzip.open(options.csv, "rt") if options.csv.suffix == ".gz" else options.csv.open(newline="") as text:
            rows = list(csv.DictReader(text))
    yield f"row,probability of {model.label}"
    for index, score in enumerate(model.scores(model.rows(rows)), start=1):
        yield f"{index},{score:.4f}"


def _named(model: Predictor) -> str:
    return ", ".join(model.features)


if __name__ == "__main__":
    sys.exit(main())
