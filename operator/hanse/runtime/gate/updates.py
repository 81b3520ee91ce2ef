"""An update as the bytes that leave: the codec with what the gate adds to it, keys and the memory of error feedback.

Used by both filters. The key of a release's noise comes from the operating system in this process; the mask and the
dither come from plan, round and attempt. What error feedback carries lies in a directory of the gate's container.
"""

from pathlib import Path
from typing import Final

import numpy as np

from hanse.api.compression import Compression
from hanse.api.privacy import PrivacyPlan, Slot
from hanse.runtime.codec import Codec, Encoded, Layout, PublicSeed
from hanse.runtime.codec.layout import Vector
from hanse.runtime.durable import replacing
from hanse.runtime.noise import ReleaseNoise, sampler_delta

_FILE: Final = "carried.npy"


class Updates:
    """Encodes the updates of one participation, in the order of their rounds."""

    def __init__(
        self, layout: Layout, plan_hash: str, plan: PrivacyPlan | None, compression: Compression | None, directory: Path
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._layout = layout
        self._plan_hash = plan_hash
        self._plan = plan
        self._compression = compression
        self._file = directory / _FILE
        self._carried = self._restore()
        self._encoded: Encoded | None = None

    def codec(self, number: int, attempt: int = 1) -> Codec:
        """The codec of one release. Raises CodecError for a plan that no grid fits."""
        seed = PublicSeed(self._plan_hash, number, attempt)
        return Codec.of(self._layout, seed, self._plan, self._compression)

    def encode(self, update: Vector, slot: Slot) -> bytes:
        """The bytes of one release; of its noise there is no second draw."""
        noise = None if self._plan is None else ReleaseNoise()
        self._encoded = self.codec(slot.round, slot.attempt).encode(update, noise, self._carried)
        return self._encoded.message.tobytes()

    def commit(self) -> None:
        """The encoded bytes leave: what they left out belongs to the next update."""
        encoded, self._encoded = self._encoded, None
        if encoded is None or encoded.carried is None:
            return
        self._carried = encoded.carried
        with replacing(self._file) as file:
            np.save(file, encoded.carried)

    def check(self) -> float:
        """That every round of the plan has a grid, and that the sampler stays within its share of delta.

        Returns what the sampler adds to delta. Raises CodecError and NoiseError.
        """
        if self._plan is None:
            return 0.0
        grids = [grid for number in range(1, self._plan.rounds + 1) if (grid := self.codec(number).grid) is not None]
        sigmas = {min(grid.sigma for grid in grids), max(grid.sigma for grid in grids)}
        # A table is slow to make: all draws are counted at the smallest and at the largest noise instead.
        draws = self.codec(1).kept * self._plan.rounds * self._plan.max_attempts
        return sampler_delta(dict.fromkeys(sigmas, draws), float(self._plan.epsilon), float(self._plan.delta))

    def _restore(self) -> Vector | None:
        try:
            carried = np.load(self._file, allow_pickle=False)
        except (OSError, ValueError):
            return None
        return carried if carried.shape == (self._layout.size,) and carried.dtype == np.float64 else None
