"""Which entries of a vector are sent: random-k's mask, the same for sender and receiver; used by both codecs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.codec.layout import Vector
from hanse.runtime.codec.public import PublicSeed


class Mask(NamedTuple):
    """`kept` of `size` entries. `chosen`: their indices, ascending; None when all of them are sent."""

    size: int
    chosen: NDArray[np.intp] | None

    @classmethod
    def of(cls, seed: PublicSeed, kept: int, size: int) -> "Mask":
        """The mask of one release; it costs a pass over random words for the whole vector."""
        return cls(size, None if kept == size else seed.mask(kept, size))

    def gather(self, full: Vector) -> Vector:
        """The entries that are sent; `full` itself when they are all."""
        return full if self.chosen is None else full[self.chosen]

    def scatter(self, entries: Vector) -> Vector:
        """A whole vector, float64, with zeros for what was not sent; `entries` itself when all was."""
        if self.chosen is None:
            return entries
        full = np.zeros(self.size, np.float64)
        full[self.chosen] = entries
        return full
