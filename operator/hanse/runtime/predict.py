"""Entry of `python3 -m hanse.runtime.predict FILE (--row TEXT | --csv FILE | --npz FILE)`: one JSON object on stdout.

`hanse model predict` starts it, because programs do not import each other. numpy only, no torch.
"""

import argparse
import csv
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.aggregation.model import ModelFileError
from hanse.runtime.aggregation.predict import Predictor, load_predictor


def parse_row(text: str, features: list[str]) -> dict[str, str]:
    """`a=1,b=2` by name, or `1,2` in the order of the features. Raises ValueError."""
    cells = next(csv.reader([text]))
    if all("=" in cell for cell in cells):
        named = dict(cell.split("=", 1) for cell in cells)
        if missing := [name for name in features if name not in named]:
            raise ValueError(f"the row has no value for {', '.join(missing)}")
        return named
    if len(cells) != len(features):
        raise ValueError(f"the row has {len(cells)} values, the model takes {len(features)}: {', '.join(features)}")
    return dict(zip(features, cells, strict=True))


def predict_rows(model: Predictor, rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    """A probability of the label for each row."""
    if model.app != "tabular":
        raise ValueError(f"a {model.app} model takes images: give them with --npz")
    scores = model.scores(model.rows(rows))
    return {"label": model.label, "probabilities": [round(float(s), 6) for s in scores]}


def predict_images(model: Predictor, path: Path) -> dict[str, Any]:
    """A class and its probability for each image of the archive's first array of at least three dimensions."""
    if model.app != "vision":
        raise ValueError(f"a {model.app} model takes rows: give them with --row or --csv")
    with np.load(path, allow_pickle=False) as archive:
        images: NDArray[Any] | None = next((archive[n] for n in archive.files if archive[n].ndim >= 3), None)
    if images is None:
        raise ValueError(f"{path} holds no array of images (at least three dimensions)")
    probabilities = model.classes(images)
    best = probabilities.argmax(axis=1)
    return {
        "label": model.label,
        "classes": [int(c) for c in best],
        "probabilities": [round(float(p), 6) for p in probabilities[np.arange(len(best)), best]],
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the prediction; what is wrong goes to stderr as one line."""
    parser = argparse.ArgumentParser(prog="hanse.runtime.predict", description=__doc__)
    parser.add_argument("file", type=Path)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--row")
    source.add_argument("--csv", type=Path)
    source.add_argument("--npz", type=Path)
    given = parser.parse_args(arguments)
    try:
        model = load_predictor(given.file)
        if given.npz is not None:
            result = predict_images(model, given.npz)
        elif given.row is not None:
            result = predict_rows(model, [parse_row(given.row, model.features)])
        else:
            with given.csv.open(newline="", encoding="utf-8") as file:
                result = predict_rows(model, list(csv.DictReader(file)))
    except (ModelFileError, ValueError, OSError, KeyError) as error:
        print(error, file=sys.stderr)
        return 1
    json.dump(result, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
