"""Data, model and training; Flower's templates call this file `task`."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FEATURES = 30
Floats = NDArray[np.float64]

#: Orders of magnitude of the measurements (mean, standard error and worst of ten each), written down by hand: nothing
#: is computed from a clinic's data.
CENTRE = np.array(
    [
        *(14, 19, 92, 650, 0.1, 0.1, 0.09, 0.05, 0.18, 0.06),
        *(0.4, 1.2, 2.9, 40, 0.007, 0.025, 0.03, 0.012, 0.02, 0.004),
        *(16, 26, 107, 880, 0.13, 0.25, 0.27, 0.11, 0.29, 0.08),
    ]
)
SPREAD = np.array(
    [
        *(3.5, 4.3, 24, 350, 0.014, 0.05, 0.08, 0.04, 0.03, 0.007),
        *(0.3, 0.55, 2, 45, 0.003, 0.018, 0.03, 0.006, 0.008, 0.003),
        *(4.8, 6.1, 34, 570, 0.023, 0.16, 0.21, 0.066, 0.062, 0.018),
    ]
)


def load_data(path: str) -> tuple[Floats, Floats]:
    """Measurements [n, 30], standardised, and diagnosis [n] (1 is malignant)."""
    with Path(path).open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    table = np.array(rows, np.float64)
    return (table[:, 1:-1] - CENTRE) / SPREAD, table[:, -1]


def load_partition(path: str, partition_id: int, num_partitions: int) -> tuple[Floats, Floats]:
    """Every so-many-th record: only for `flwr run` on one machine, where all data is in one file."""
    values, labels = load_data(path)
    return values[partition_id::num_partitions], labels[partition_id::num_partitions]


def split(values: Floats, labels: Floats) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Four fifths to train on, every fifth record to evaluate on."""
    held = np.arange(len(labels)) % 5 == 4
    return (values[~held], labels[~held]), (values[held], labels[held])


def initial_model() -> list[Floats]:
    """Weights [30] and bias [1], all zero."""
    return [np.zeros(FEATURES), np.zeros(1)]


def predict(model: list[Floats], values: Floats) -> Floats:
    """Probability that the tumour is malignant, [n]."""
    return np.asarray(1 / (1 + np.exp(-(values @ model[0] + model[1]))))


def train(
    model: list[Floats], values: Floats, labels: Floats, epochs: int, rate: float, seed: int
) -> tuple[list[Floats], float]:
    """Gradient descent, one record after another; the new model and its mean loss."""
    weights, bias = model[0].copy(), model[1].copy()
    generator = np.random.default_rng(seed)
    for _ in range(epochs):
        for index in generator.permutation(len(labels)):
            error = predict([weights, bias], values[index]) - labels[index]
            weights -= rate * error * values[index]
            bias -= rate * error
    return [weights, bias], loss([weights, bias], values, labels)


def loss(model: list[Floats], values: Floats, labels: Floats) -> float:
    """Mean log loss."""
    p = np.clip(predict(model, values), 1e-7, 1 - 1e-7)
    return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)))


def accuracy(model: list[Floats], values: Floats, labels: Floats) -> float:
    """Share of right answers."""
    return float(np.mean((predict(model, values) >= 0.5) == (labels == 1)))
