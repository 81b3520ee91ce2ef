"""`SharedModel`: applies the decrypted mean of a round; the gate commits the result when enough gates got the same.

Every operation is on single elements, in a fixed order, and one that IEEE 754 rounds correctly: equal inputs give equal
bits on every machine. A round that is not committed leaves everything as it was.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from hanse.api.aggregation import Aggregation
from hanse.runtime.aggregation import Arrays, NonFiniteError, Strategy, Update, build_strategy
from hanse.runtime.codec import Layout
from hanse.runtime.shared.errors import NotNextError, SharedModelError, StateInvalidError
from hanse.runtime.shared.reach import next_range
from hanse.runtime.shared.sealed import read_state, state_bytes
from hanse.runtime.shared.state import Digests, State

Vector = NDArray[np.float64]

#: safetensors has codes for these, and their arithmetic is the same everywhere.
_DTYPES: Final = ("float16", "float32", "float64")


@dataclass(frozen=True)
class Rules:
    """What all rounds of a job have in common; every gate has it from its plan and its own first model."""

    layout: Layout
    aggregation: Aggregation
    members: frozenset[str]
    rounds: int

    def shared(self, arrays: Arrays) -> Arrays:
        """The arrays that the strategy works on, in the model's order."""
        names = frozenset(self.layout.names)
        return {name: array for name, array in arrays.items() if name in names}

    def strategy(self, state: Arrays) -> Strategy:
        """A new strategy that goes on from `state`, which it does not write into."""
        strategy = build_strategy(self.aggregation)
        strategy.load_state(state)
        return strategy

    def remembered(self) -> Arrays:
        """What the strategy remembers before the first step."""
        return build_strategy(self.aggregation).state()


@dataclass(frozen=True)
class Candidate:
    """The model after a round, not yet committed. `base` is the committed round that it started from."""

    base: int
    state: State
    rules: Rules

    @property
    def round(self) -> int:
        """The round whose sum was applied."""
        return self.state.round

    @property
    def arrays(self) -> Arrays:
        """The whole model, in its own order and dtypes. Not to be written into."""
        return self.state.arrays

    @property
    def digests(self) -> Digests:
        """What the gate signs."""
        return self.state.digests

    def to_bytes(self) -> bytes:
        """For sealing: `SharedModel.from_bytes` makes of it the model with this candidate committed."""
        return state_bytes(self.state, self.rules.layout)


class SharedModel:
    """The committed model of one gate, and the step to the next. Not thread-safe."""

    def __init__(self, first: State, rules: Rules, committed: State) -> None:
        """Use `first` or `from_bytes`."""
        self._first, self._rules, self._committed = first, rules, committed

    @classmethod
    def first(
        cls,
        arrays: Arrays,
        layout: Layout,
        aggregation: Aggregation,
        *,
        members: Iterable[str],
        rounds: int,
        range: float | None,
    ) -> Self:
        """The model of round 0, as this gate made it; `layout` names the arrays that the job shares.

        `members` are the names of all participants, `rounds` is the job's last round; `range` is the largest magnitude
        of one parameter's update in round 1, None with differential privacy. Raises SharedModelError.
        """
        if odd := [e.name for e in layout.entries if e.dtype.name not in _DTYPES]:
            raise SharedModelError(f"array {odd[0]} has a dtype that an encrypted job does not take")
        if range is not None and not 0 < range < float("inf"):
            raise SharedModelError("the range must be a positive number")
        rules = Rules(layout, aggregation, frozenset(members), rounds)
        state = State(0, dict(arrays), rules.remembered(), range)
        return cls(state, rules, state)

    @property
    def round(self) -> int:
        """The last committed round; 0 before any."""
        return self._committed.round

    @property
    def arrays(self) -> Arrays:
        """The committed model, in its own order and dtypes. Not to be written into."""
        return self._committed.arrays

    @property
    def contributors(self) -> frozenset[str]:
        """Everyone whose update is in the committed model."""
        return self._committed.contributors

    @property
    def range(self) -> float | None:
        """Largest magnitude of one parameter's update in the next round; None with differential privacy."""
        return self._committed.range

    @property
    def digests(self) -> Digests:
        """Of the committed state."""
        return self._committed.digests

    def vector(self) -> Vector:
        """The committed model's shared arrays: float64 of shape (layout.size,)."""
        return self._rules.layout.flatten(self._committed.arrays)

    def apply(
        self,
        number: int,
        mean: Vector,
        contributors: Iterable[str],
        rate: float | None = None,
        *,
        amplification: float = 1.0,
    ) -> Candidate:
        """The model after round `number`; nothing changes here until `commit`.

        `mean` is float64 of shape (layout.size,): the mean difference to the committed model, or, with `rate` (unit
        Record), the mean gradient, of which one step of that rate is made. `amplification` is what the codec multiplied
        the mean with: the range is of what is sent. Raises SharedModelError and AggregationError.
        """
        before, rules = self._committed, self._rules
        if not before.round < number <= rules.rounds:
            raise NotNextError(f"round {number} does not come after round {before.round} of {rules.rounds}")
        by = frozenset(contributors)
        if not by or not by <= rules.members:
            raise SharedModelError("the contributors are not participants of this job")
        if mean.shape != (rules.layout.size,) or mean.dtype != np.float64:
            raise SharedModelError(f"a mean of shape {mean.shape} is not one of {rules.layout.size} parameters")
        if not np.isfinite(mean).all():
            raise NonFiniteError(f"the mean of round {number} is not finite")
        delta = mean if rate is None else mean * -rate
        updated = rules.layout.unflatten(self.vector() + delta)
        shared = rules.shared(before.arrays)
        strategy = rules.strategy(before.strategy)
        # One update of one record: the mean over the participants is done, and a share of 1 changes no bit.
        stepped = strategy.aggregate(shared, [Update("all", {name: updated[name] for name in shared}, 1)])
        reach = self._next_range(mean, amplification)
        state = State(number, {**before.arrays, **stepped}, strategy.state(), reach, before.contributors | by)
        return Candidate(before.round, state, rules)

    def commit(self, candidate: Candidate) -> None:
        """Take a candidate as the model. Raises NotNextError unless it started from the committed one."""
        if candidate.base != self.round or candidate.round <= self.round:
            raise NotNextError(f"a candidate of base {candidate.base} cannot follow round {self.round}")
        self._committed = candidate.state

    def to_bytes(self) -> bytes:
        """The committed state, for sealing; equal states give equal bytes."""
        return state_bytes(self._committed, self._rules.layout)

    def from_bytes(self, data: bytes) -> "SharedModel":
        """The model of another gate of this job, from what its `to_bytes` made; this one stays as it is.

        The caller compares its digests with the signed ones. Raises StateInvalidError.
        """
        rules = self._rules
        state = read_state(data, self._first, rules.layout, members=rules.members, rounds=rules.rounds)
        self._check_strategy(state)
        return SharedModel(self._first, rules, state)

    def _next_range(self, mean: Vector, amplification: float) -> float | None:
        first, current = self._first.range, self._committed.range
        return None if first is None or current is None else next_range(current, mean / amplification, first)

    def _check_strategy(self, state: State) -> None:
        """Raise StateInvalidError unless it has the names, shapes and dtypes of what the strategy remembers."""
        fresh = self._rules.remembered()
        if state.round > 0:
            strategy, shared = build_strategy(self._rules.aggregation), self._rules.shared(self._first.arrays)
            strategy.aggregate(shared, [Update("all", shared, 1)])
            fresh = strategy.state()
        if _kinds(state.strategy) != _kinds(fresh):
            raise StateInvalidError("the state is another strategy's")


def _kinds(arrays: Arrays) -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (array.shape, array.dtype.str) for name, array in arrays.items()}
