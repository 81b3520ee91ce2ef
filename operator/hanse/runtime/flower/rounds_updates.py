"""From the answers of a round to the updates that a strategy takes, or why one is not taken. Used by the round loop.

The gates have checked the same; the server does not rely on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hanse.api.conditions import Reason
from hanse.api.runconfig import RunConfig, ServerParticipant
from hanse.runtime.aggregation import AggregationError, Arrays, Update
from hanse.runtime.aggregation.metrics import NUM_EXAMPLES
from hanse.runtime.aggregation.received import Receiver
from hanse.runtime.flower.rounds_fleet import Answer

#: The one array of a compressed or private update.
GRID: Final = "grid"
#: What the app, its data or an exhausted budget cause: asking again with the same model brings the same.
APP_CAUSED: Final = frozenset(
    {
        Reason.APP_ERROR,
        Reason.NON_FINITE_UPDATE,
        Reason.NON_FINITE_METRIC,
        Reason.UPDATE_MISMATCH,
        Reason.DATASET_INVALID,
        Reason.NOT_ALLOWED_IN_REPLY,
        Reason.INITIAL_MODEL_MISMATCH,
        Reason.STEP_TOO_LARGE,
        Reason.ALREADY_RELEASED,
        Reason.ATTEMPTS_EXHAUSTED,
        Reason.BUDGET_NOT_RESERVED,
        Reason.BUDGET_EXHAUSTED,
        Reason.BUDGET_DAMAGED,
        Reason.DATASET_MOVED,
    }
)
#: So many repetitions in a row that fail for such causes alone end the job before startTimeoutSeconds are over.
HOPELESS_REPEATS: Final = 3
REPEAT_PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Intake:
    """Takes the updates of one run."""

    config: RunConfig

    @property
    def _receiver(self) -> Receiver:
        return Receiver(self.config)

    def shared(self, model: Arrays) -> Arrays:
        """The arrays that the strategy works on; the others stay as they are."""
        return self._receiver.shared(model)

    def take(self, index: int, answer: Answer, number: int, model: Arrays) -> Update | Reason:
        """The participant's update of round `number`, in the model's order of names, or why it is refused."""
        if answer.failure is not None:
            return answer.failure
        if (refusal := metric_refusal(answer)) is not None:
            return refusal
        participant = next(p for p in self.config.participants if p.index == index)
        arrays = self._arrays(participant, answer.arrays or {}, number, model)
        if isinstance(arrays, Reason):
            return arrays
        return Update(participant.name, arrays, int(answer.metrics[NUM_EXAMPLES]))

    def _arrays(
        self, participant: ServerParticipant, arrays: Mapping[str, Any], number: int, model: Arrays
    ) -> Arrays | Reason:
        if self._receiver.coded:
            if arrays.keys() != {GRID}:
                return Reason.UPDATE_MISMATCH
            try:
                return self._receiver.update(model, participant, number, arrays[GRID])
            except AggregationError:
                return Reason.UPDATE_MISMATCH
        shared = self.shared(model)
        if arrays.keys() != shared.keys():
            return Reason.UPDATE_MISMATCH
        if any(arrays[n].shape != a.shape or arrays[n].dtype != a.dtype for n, a in shared.items()):
            return Reason.UPDATE_MISMATCH
        # In the model's order of names: apps may take arrays by position.
        ordered = {name: arrays[name] for name in shared}
        return ordered if finite(ordered) else Reason.NON_FINITE_UPDATE


def size(answer: Answer) -> int:
    """Bytes of the arrays of an answer."""
    return sum(array.nbytes for array in (answer.arrays or {}).values())


def finite(arrays: Mapping[str, Any]) -> bool:
    """Whether no array holds NaN or infinity."""
    return all(bool(np.isfinite(a).all()) for a in arrays.values() if np.issubdtype(a.dtype, np.inexact))


def metric_refusal(answer: Answer) -> Reason | None:
    """Why an answer's metrics are not taken."""
    count = answer.metrics.get(NUM_EXAMPLES)
    if not isinstance(count, int | float) or count < 0:
        return Reason.UPDATE_MISMATCH
    values: list[Any] = []
    for value in answer.metrics.values():
        values.extend(value if isinstance(value, list) else [value])
    return None if np.isfinite(np.asarray(values, np.float64)).all() else Reason.NON_FINITE_METRIC


def scalars(answer: Answer) -> dict[str, float]:
    """The metrics of an answer that are single numbers."""
    return {n: float(v) for n, v in answer.metrics.items() if isinstance(v, int | float)}


def told_of(reasons: Mapping[str, str]) -> str:
    """Reasons by name, for a person: the first five."""
    return ", ".join(f"{name} {reason}" for name, reason in list(reasons.items())[:5])
