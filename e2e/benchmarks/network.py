"""The tabular app's models in numpy, one clipped gradient a record: what the app does in torch (a test compares).

`credit` and `privacy` use it, so that they need no torch. Without hidden layers it is logistic regression.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.aggregation import Arrays

Floats = NDArray[np.floating[Any]]

#: The app's own hidden layers where the job's config names none.
HIDDEN: Final = (64,)


@dataclass(frozen=True)
class Network:
    """layer0 … layerN with ReLU between, one logit. A model is one vector: each layer's weight, then its bias."""

    inputs: int
    hidden: tuple[int, ...] = ()

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Of the layers' weights: (outputs, inputs)."""
        return [(after, before) for before, after in pairwise([self.inputs, *self.hidden, 1])]

    @property
    def size(self) -> int:
        """How many numbers the model has."""
        return sum(rows * (columns + 1) for rows, columns in self.shapes)

    def first(self, seed: int) -> Floats:
        """The law of torch's linear layers: uniform within 1 / sqrt(inputs of the layer)."""
        generator = np.random.default_rng(seed)
        parts = [
            generator.uniform(-(columns**-0.5), columns**-0.5, rows * (columns + 1)) for rows, columns in self.shapes
        ]
        return np.concatenate(parts).astype(np.float32).astype(np.float64)

    def named(self, model: Floats) -> Arrays:
        """By the app's names, in its order."""
        arrays: Arrays = {}
        for index, (weight, bias) in enumerate(self._layers(model)):
            arrays |= {f"layer{index}.weight": weight, f"layer{index}.bias": bias}
        return arrays

    def arrays(self, model: Floats) -> Arrays:
        """As the app sends it."""
        return {name: array.astype(np.float32) for name, array in self.named(model).items()}

    def flat(self, arrays: Arrays) -> Floats:
        """The inverse of `arrays`."""
        return np.concatenate([array.ravel() for array in arrays.values()]).astype(np.float64)

    def scores(self, model: Floats, inputs: Floats) -> Floats:
        """Probabilities, [rows]."""
        return self._forward(model, inputs)[1]

    def gradient_sum(self, model: Floats, inputs: Floats, labels: Floats, clip: float | None) -> Floats:
        """The sum over all records of their gradients, as one vector, each cut to the L2 norm `clip`.

        `inputs` [rows, columns], `labels` [rows], in whose dtype it is computed. A record's gradient of a layer is the
        outer product of what comes back to its outputs and of what went in with a 1, so its norm is the product of
        theirs (Goodfellow 2015, arXiv:1510.01799): no record's gradient is ever made.
        """
        entered, chances = self._forward(model, inputs)
        back = (chances - labels)[:, None]
        backs = [back]
        for (weight, _), before in zip(self._layers(model)[:0:-1], entered[:0:-1], strict=True):
            back = (back @ weight) * (before > 0)
            backs.insert(0, back)
        factors: Floats | None = None
        if clip is not None:
            squares = sum(_squares(b) * (1 + _squares(a)) for a, b in zip(entered, backs, strict=True))
            factors = clip / np.maximum(np.sqrt(squares), clip)
        parts: list[Floats] = []
        for before, back in zip(entered, backs, strict=True):
            cut = back if factors is None else back * factors[:, None]
            parts += [(cut.T @ before).ravel(), cut.sum(axis=0)]
        return np.concatenate(parts)

    def _forward(self, model: Floats, inputs: Floats) -> tuple[list[Floats], Floats]:
        """What goes into each layer, and the probabilities."""
        entered, out = list[Floats](), inputs
        for index, (weight, bias) in enumerate(self._layers(model)):
            entered.append(out if not index else np.maximum(out, 0))
            out = entered[-1] @ weight.T + bias
        return entered, 1 / (1 + np.exp(-out[:, 0]))

    def _layers(self, model: Floats) -> list[tuple[Floats, Floats]]:
        layers, start = [], 0
        for rows, columns in self.shapes:
            end = start + rows * columns
            layers.append((model[start:end].reshape(rows, columns), model[end : end + rows]))
            start = end + rows
        return layers


def _squares(vectors: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", vectors, vectors))
