"""Logistic regression in numpy, one clipped gradient at a time: what the tabular app does in torch (a test compares).

The privacy benchmark calls it, so that it needs no torch.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def gradient_sum(model: Floats, inputs: Floats, labels: Floats, clip: float | None) -> Floats:
    """The sum over all records of their gradients, [columns + 1] (the last is the bias), each cut to the norm `clip`.

    `model` [columns + 1], `inputs` [rows, columns], `labels` [rows]. A record's gradient is (p - y) (x, 1).
    """
    errors = 1 / (1 + np.exp(-(inputs @ model[:-1] + model[-1]))) - labels
    if clip is not None:
        lengths = np.abs(errors) * np.sqrt(1 + np.einsum("ij,ij->i", inputs, inputs))
        errors = errors * (clip / np.maximum(lengths, clip))
    return np.append(inputs.T @ errors, errors.sum())


def scores(model: Floats, inputs: Floats) -> Floats:
    """Probabilities, [rows]."""
    return np.asarray(1 / (1 + np.exp(-(inputs @ model[:-1] + model[-1]))))
