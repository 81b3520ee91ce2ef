"""FedAdam and FedYogi (Reddi et al. 2021, arXiv:2003.00295): a server-side optimiser; chosen by `build_strategy`.

The mean update minus the model is the pseudo-gradient. The formulas are those of Flower 1.41 (the contract tests
compare), FedAdam's bias correction included; moments are float64 here. Arrays that are not floating (counters, flags)
are averaged, not stepped. Steps are counted by the strategy, so a repeated round does not count twice.

The gates of an encrypted job step each for itself and must get equal bits: only +, -, *, / and square roots, which
IEEE 754 rounds correctly everywhere. `pow` is none of them: a C library picks its variant by the processor.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.aggregation.arrays import (
    AggregationError,
    Arrays,
    NonFiniteError,
    Update,
    is_float,
    like,
    weighted_mean,
)

_FIRST: Final = "m/"
_SECOND: Final = "v/"
_STEPS: Final = "steps"


@dataclass(frozen=True)
class Hyperparameters:
    """Server learning rate, decay of both moments, degree of adaptivity."""

    learning_rate: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3


class _FedOpt(ABC):
    """What FedAdam and FedYogi share: pseudo-gradient, first moment, state."""

    def __init__(self, parameters: Hyperparameters, *, equal: bool = False) -> None:
        self._parameters = parameters
        self._equal = equal
        self._steps = 0
        self._first: Arrays = {}
        self._second: Arrays = {}

    @abstractmethod
    def _next_second(self, second: NDArray[Any], squared: NDArray[Any]) -> NDArray[Any]:
        """The second moment after the squared pseudo-gradient."""

    @abstractmethod
    def _step_size(self, steps: int) -> float:
        """The learning rate of step `steps` (from 1)."""

    def train_config(self) -> dict[str, float]:
        """Nothing beside the round."""
        return {}

    def aggregate(self, current: Arrays, updates: Sequence[Update]) -> Arrays:
        """One step of the server's optimiser towards the weighted mean."""
        mean = weighted_mean(current, updates, equal=self._equal)
        beta1 = self._parameters.beta1
        rate = self._step_size(self._steps + 1)
        first: Arrays = {}
        second: Arrays = {}
        values: Arrays = {}
        for name, array in current.items():
            if not is_float(array):
                values[name] = mean[name]
                continue
            start = array.astype(np.float64)
            delta = np.asarray(mean[name] - start)
            zero = np.zeros_like(delta)
            first[name] = np.asarray(beta1 * self._first.get(name, zero) + (1 - beta1) * delta)
            with np.errstate(over="ignore"):  # reported below, by name
                second[name] = self._next_second(self._second.get(name, zero), delta * delta)
            if not np.isfinite(second[name]).all():
                # It would stop this entry for good.
                raise NonFiniteError(f"the second moment of array {name} is not finite")
            values[name] = start + rate * first[name] / (np.sqrt(second[name]) + self._parameters.tau)
        result = like(current, values)
        # Only now: a round that failed above leaves the moments as they were.
        self._steps, self._first, self._second = self._steps + 1, first, second
        return result

    def state(self) -> Arrays:
        """Both moments (float64) and the step count."""
        return {
            _STEPS: np.asarray(self._steps, np.int64),
            **{_FIRST + name: array.copy() for name, array in self._first.items()},
            **{_SECOND + name: array.copy() for name, array in self._second.items()},
        }

    def load_state(self, state: Arrays) -> None:
        """Go on from `state()`; raises AggregationError when it is another strategy's."""
        if _STEPS not in state:
            raise AggregationError("the checkpoint holds no state of this strategy")
        self._steps = int(state[_STEPS])
        self._first = _strip(state, _FIRST)
        self._second = _strip(state, _SECOND)


class FedAdam(_FedOpt):
    """Second moment decays exponentially; learning rate with bias correction."""

    def _next_second(self, second: NDArray[Any], squared: NDArray[Any]) -> NDArray[Any]:
        beta2 = self._parameters.beta2
        return np.asarray(beta2 * second + (1 - beta2) * squared)

    def _step_size(self, steps: int) -> float:
        # Flower's exponent is the round plus one: its first step is a little smaller than Kingma and Ba's.
        correction = math.sqrt(1 - power(self._parameters.beta2, steps + 1))
        return self._parameters.learning_rate * correction / (1 - power(self._parameters.beta1, steps + 1))


class FedYogi(_FedOpt):
    """Second moment moves by a bounded amount (Zaheer et al. 2018); constant learning rate."""

    def _next_second(self, second: NDArray[Any], squared: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(second - (1 - self._parameters.beta2) * squared * np.sign(second - squared))

    def _step_size(self, steps: int) -> float:
        return self._parameters.learning_rate


def power(base: float, exponent: int) -> float:
    """`base` to the `exponent` (at least 0) by squaring: the same bits on every machine.

    The relative error is at most about `exponent` half units in the last place.
    """
    result = 1.0
    while exponent > 0:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


def _strip(state: Arrays, prefix: str) -> Arrays:
    return {
        name.removeprefix(prefix): array.astype(np.float64) for name, array in state.items() if name.startswith(prefix)
    }
