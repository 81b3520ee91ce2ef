"""Real images, and a small network with its gradients: what an honest trainer computes. numpy alone."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]

DATA = Path(__file__).resolve().parents[3] / "examples/images/data"
SIDE = 14
PIXELS = SIDE * SIDE
CLASSES = 10


@dataclass(frozen=True)
class Images:
    """`pixels` (n, 196) in [0, 1], means of 2 by 2 of the file's, and `labels` (n,)."""

    pixels: Vector
    labels: NDArray[np.int64]


@cache
def images(name: str) -> Images:
    """The owner's are `hospital-a`; the attacker's own are `held-out`."""
    with np.load(DATA / f"{name}.npz") as file:
        small = file["images"].reshape(-1, SIDE, 2, SIDE, 2).mean(axis=(2, 4)) / 255.0
        return Images(small.reshape(-1, PIXELS), file["labels"].astype(np.int64))


def network(hidden: int, seed: int = 0) -> Arrays:
    """A fresh multi-layer perceptron, as frameworks start one."""
    generator = np.random.default_rng(seed)

    def uniform(rows: int, columns: int) -> NDArray[np.float32]:
        drawn: NDArray[np.float32] = (generator.uniform(-1, 1, (rows, columns)) / np.sqrt(columns)).astype(np.float32)
        return drawn

    return {
        "0.weight": uniform(hidden, PIXELS),
        "0.bias": np.full(hidden, 0.1, np.float32),
        "2.weight": uniform(CLASSES, hidden),
        "2.bias": np.zeros(CLASSES, np.float32),
    }


def gradient(model: Arrays, pixels: Vector, label: int) -> dict[str, Vector]:
    """Of the cross-entropy of one image."""
    before = model["0.weight"].astype(np.float64) @ pixels + model["0.bias"]
    hidden = np.maximum(before, 0)
    scores = model["2.weight"].astype(np.float64) @ hidden + model["2.bias"]
    odds = np.exp(scores - scores.max())
    wrong = odds / odds.sum() - (np.arange(CLASSES) == label)
    back = (model["2.weight"].T.astype(np.float64) @ wrong) * (before > 0)
    return {
        "0.weight": np.outer(back, pixels),
        "0.bias": back,
        "2.weight": np.outer(wrong, hidden),
        "2.bias": wrong,
    }


def norm(arrays: Arrays) -> float:
    """L2 over all arrays."""
    return float(np.sqrt(sum(np.sum(np.square(array)) for array in arrays.values())))


def clipped_sum(gradients: list[dict[str, Vector]], clip: float) -> Arrays:
    """Unit Record: what the platform's trainer returns, each record clipped by itself."""
    factors = [min(1.0, clip / max(norm(each), 1e-12)) for each in gradients]
    return {
        name: np.asarray(
            sum(factor * each[name] for factor, each in zip(factors, gradients, strict=True)), dtype=np.float64
        )
        for name in gradients[0]
    }


def stepped(model: Arrays, gradients: list[dict[str, Vector]], rate: float) -> Arrays:
    """Unit Silo, or no privacy: the model after one step on the mean gradient, as the app returns it."""
    return {
        name: (array - rate * np.mean([each[name] for each in gradients], axis=0)).astype(array.dtype)
        for name, array in model.items()
    }


def likeness(found: Vector, truth: Vector) -> float:
    """Pearson's correlation: 1 is the image, whatever its brightness and contrast."""
    a, b = found - found.mean(), truth - truth.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 0 else 0.0
