"""A state of the shared model: what every gate holds after the same rounds, and its digests. Used by `model`."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

from hanse.runtime.aggregation import Arrays, arrays_digest

#: Part of every digest and of the bytes: a later layout is another version.
VERSION: Final = 1


class Digests(NamedTuple):
    """What a gate signs (`Applied`): of the model's arrays, and of all else that the next round depends on."""

    model: str
    state: str


@dataclass(frozen=True)
class State:
    """After `round` (0: the first model). Nobody writes into its arrays."""

    round: int
    #: The whole model, in its own order and dtypes.
    arrays: Arrays
    #: Of the server optimiser (moments, steps); empty where it remembers nothing.
    strategy: Arrays = field(default_factory=dict)
    #: Largest magnitude of one parameter's update in the next round; None with differential privacy.
    range: float | None = None
    #: Everyone whose update is in the model.
    contributors: frozenset[str] = frozenset()

    @cached_property
    def digests(self) -> Digests:
        """Equal for two gates if, and only if, their states are equal bit for bit."""
        about = json.dumps({**self.about(), "strategy": arrays_digest(self.strategy)}, sort_keys=True)
        return Digests(arrays_digest(self.arrays), f"sha256:{hashlib.sha256(about.encode()).hexdigest()}")

    def about(self) -> dict[str, Any]:
        """All but the arrays, JSON-ready and exact."""
        return {
            "version": VERSION,
            "round": self.round,
            "range": None if self.range is None else self.range.hex(),
            "contributors": sorted(self.contributors),
        }
