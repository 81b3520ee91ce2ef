"""From the bytes that a gate sent to the arrays that a strategy takes. Called by the round loop.

A compressed or private update is a vector: for unit Silo (and without privacy) the difference to the global model, for
unit Record the noised sum of the batch's clipped gradients, of which one gradient step is made here: the model minus
`learning-rate` times the sum over the participant's fixed expected batch, never the realised one (which nobody sends).
Arrays that are not shared stay as the global model has them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from numpy.typing import NDArray

from hanse.api.privacy import PrivacyPlan
from hanse.api.runconfig import RunConfig, ServerParticipant
from hanse.runtime.aggregation.arrays import AggregationError, Arrays, MismatchError
from hanse.runtime.codec import Codec, CodecError, Layout, PublicSeed, attempt_of

#: Key of spec.app.config, and its default, as in the built-in apps' settings.
LEARNING_RATE: Final = "learning-rate"
DEFAULT_LEARNING_RATE: Final = 0.05


def learning_rate(config: Mapping[str, str]) -> float:
    """The rate of a gradient step (unit Record). Raises AggregationError unless it is a positive number."""
    try:
        rate = float(config.get(LEARNING_RATE, DEFAULT_LEARNING_RATE))
    except ValueError as error:
        raise AggregationError(f"{LEARNING_RATE} is no number") from error
    if not 0 < rate < float("inf"):
        raise AggregationError(f"{LEARNING_RATE} must be greater than 0")
    return rate


@dataclass(frozen=True)
class Receiver:
    """Decodes the updates of one run."""

    config: RunConfig

    @property
    def coded(self) -> bool:
        """Whether updates come as a vector in bytes; else they come as the app's own arrays."""
        return self.config.privacy is not None or self.config.compression is not None

    def shared(self, model: Arrays) -> Arrays:
        """The arrays of the global model that participants send an update of."""
        if not self.coded:
            globs = self.config.personal_layers
            return {n: a for n, a in model.items() if not any(fnmatchcase(n, glob) for glob in globs)}
        names = frozenset(self._layout(model).names)
        return {name: array for name, array in model.items() if name in names}

    def update(self, model: Arrays, participant: ServerParticipant, number: int, message: NDArray[Any]) -> Arrays:
        """The participant's shared arrays after round `number`, in the model's order, as float64.

        Raises MismatchError for anything that this round's codec does not make.
        """
        layout = self._layout(model)
        plan = self._plan(participant)
        try:
            seed = PublicSeed(participant.plan_hash, number, attempt_of(message))
            vector = Codec.of(layout, seed, plan, self.config.compression).decode(message)
        except CodecError as error:
            raise MismatchError(f"the update of {participant.name} cannot be decoded: {error}") from error
        if plan is not None and plan.unit == "Record":
            vector = vector * (-learning_rate(self.config.config) / (plan.expected_batch or 1))
        updated = layout.unflatten(layout.flatten(model) + vector)
        return {name: updated[name] for name in self.shared(model)}

    def _plan(self, participant: ServerParticipant) -> PrivacyPlan | None:
        plan = self.config.privacy
        if plan is None or participant.expected_batch is None:
            return plan
        return plan.model_copy(update={"expected_batch": participant.expected_batch})

    def _layout(self, model: Arrays) -> Layout:
        return Layout.of(model, self.config.personal_layers)
