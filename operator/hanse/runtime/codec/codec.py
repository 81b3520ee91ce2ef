"""What one release looks like on the wire, and back; built equally by the gate (encode) and the aggregator (decode).

A message is bytes of a length that only the plan decides: the attempt (4 bytes), without DP one float64 scale for each
array when the entries are quantised, then the lanes.

| | lanes |
|---|---|
| DP | integers of 32, 15 or 8 bits on the private grid, noised |
| no DP, 8 or 15 bits | integers; each array is scaled by its largest entry; subtractive dither, so without bias |
| no DP, full width | float32 |

Random-k (Stich et al. 2018, arXiv:1809.07599): a mask from the public seed before the projection; the receiver scales
by size / kept, which makes it unbiased. With error feedback (Karimireddy et al. 2019, arXiv:1901.09847) it does not
scale; what was left out, without the noise, is returned for the next round, where it is added before the clip.
"""

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from hanse.api.compression import FULL_BITS, Compression
from hanse.api.privacy import PrivacyPlan
from hanse.runtime.codec import grid as grids
from hanse.runtime.codec.errors import CodecError, MessageError, NoiseMissingError, NotFiniteError
from hanse.runtime.codec.grid import Demand, Grid
from hanse.runtime.codec.lanes import Bytes, capacity, lane_bytes, pack, unpack
from hanse.runtime.codec.layout import Layout, Vector
from hanse.runtime.codec.mask import Mask
from hanse.runtime.codec.public import MAX_PARAMETERS, PublicSeed
from hanse.runtime.codec.rounding import factor, round_record, round_silo
from hanse.runtime.noise import ReleaseNoise

HEADER_BYTES: Final = 4
_SCALE_BYTES: Final = 8


@dataclass(frozen=True)
class Encoded:
    """A message, and what error feedback carries into the next round (None without it)."""

    message: Bytes
    carried: Vector | None


@dataclass(frozen=True)
class Codec:
    """The codec of one release; `grid` is None without differential privacy."""

    layout: Layout
    seed: PublicSeed
    grid: Grid | None
    bits: int
    kept: int
    feedback: bool

    @classmethod
    def of(
        cls, layout: Layout, seed: PublicSeed, plan: PrivacyPlan | None, compression: Compression | None = None
    ) -> Self:
        """The codec of round `seed.round` of a job. Raises GridTooCoarseError, and CodecError for what cannot be.

        Pure and cheap (no table is made), so a gate can try every round of a plan before it starts.
        """
        bits = (compression.quantization_bits if compression else None) or FULL_BITS
        kept = kept_entries(compression, layout.size)
        feedback = compression is not None and compression.error_feedback
        if plan is None:
            return cls(layout, seed, None, bits, kept, feedback)
        if feedback and plan.unit == "Record":
            raise CodecError("error feedback would carry records into rounds that did not draw them")
        if not 1 <= seed.round <= plan.rounds:
            raise CodecError(f"round {seed.round} is not in the plan's {plan.rounds}")
        demand = Demand(
            unit=plan.unit,
            clip=float(plan.clip),
            noise_multiplier=float(plan.noise_multipliers[seed.round - 1]),
            lanes=kept,
            bits=bits,
            releases=plan.rounds * plan.max_attempts,
            expected_batch=plan.expected_batch or 1,
        )
        return cls(layout, seed, grids.choose(demand), bits, kept, feedback)

    @property
    def message_bytes(self) -> int:
        """Length of every message of this codec, in bytes."""
        return HEADER_BYTES + self._scale_bytes + lane_bytes(self.kept, self.bits)

    @property
    def amplification(self) -> float:
        """What the receiver multiplies the entries with."""
        return 1.0 if self.feedback else self.layout.size / self.kept

    def encode(self, vector: Vector, noise: ReleaseNoise | None = None, carried: Vector | None = None) -> Encoded:
        """The message of a vector of shape (layout.size,): an update (Silo, or no DP) or a sum of gradients (Record).

        `noise` is used up; it is needed exactly when the plan is private. `carried` is what the last `encode` returned
        with error feedback. Raises NotFiniteError, NoiseMissingError, and NoiseError from the noise.
        """
        if (noise is None) != (self.grid is None):
            raise NoiseMissingError("a private release needs noise, and no other takes any")
        if vector.shape != (self.layout.size,):
            raise CodecError(f"a vector of shape {vector.shape} is not one of {self.layout.size} parameters")
        full = vector if carried is None or not self.feedback else vector + carried
        if not np.all(np.isfinite(full)):
            raise NotFiniteError("the update holds NaN or infinity")
        mask = Mask.of(self.seed, self.kept, self.layout.size)
        entries = mask.gather(full)
        body, sent, clip = self._plain(entries, mask.chosen) if noise is None else self._private(entries, noise)
        header = np.frombuffer(self.seed.attempt.to_bytes(HEADER_BYTES, "little"), np.uint8)
        left = full * clip - mask.scatter(sent) if self.feedback else None
        return Encoded(np.concatenate([header, body]), left)

    def decode(self, message: NDArray[Any]) -> Vector:
        """What was sent, noise included, as float64 of shape (layout.size,); entries outside of the mask are zero.

        Raises MessageError for anything that `encode` of this codec does not return.
        """
        if message.dtype != np.uint8 or message.shape != (self.message_bytes,):
            raise MessageError(f"a message of this round is {self.message_bytes} bytes")
        if attempt_of(message) != self.seed.attempt:
            raise MessageError("the message is of another attempt")
        body = message[HEADER_BYTES:]
        mask = Mask.of(self.seed, self.kept, self.layout.size)
        if self.grid is None and self.bits == FULL_BITS:
            entries = np.ascontiguousarray(body).view("<f4").astype(np.float64)
        else:
            points = unpack(body[self._scale_bytes :], self.kept, self.bits) - self.seed.dither(self.kept)
            if self.grid is not None:
                entries = points * self.grid.step
            else:
                scales = np.ascontiguousarray(body[: self._scale_bytes]).view("<f8")
                entries = points * np.repeat(scales, self._counts(mask.chosen))
        if not np.all(np.isfinite(entries)):
            raise MessageError("the message holds NaN or infinity")
        return mask.scatter(entries * self.amplification)

    @property
    def _scale_bytes(self) -> int:
        scaled = self.grid is None and self.bits != FULL_BITS
        return _SCALE_BYTES * len(self.layout.entries) if scaled else 0

    def _private(self, entries: Vector, noise: ReleaseNoise) -> tuple[Bytes, Vector, float]:
        """Bytes, what they say without the noise, and the factor of the clip."""
        assert self.grid is not None
        dither = self.seed.dither(self.kept)
        # In real units first: dividing an entry near the largest float by the step would overflow.
        clip = factor(entries, self.grid.ball * self.grid.step)
        scaled = entries * clip / self.grid.step
        if self.grid.unit == "Silo":
            points = round_silo(scaled, dither, self.grid)
        else:
            points = round_record(scaled, dither, self.grid)
        noised = points + noise.draw(self.grid.sigma, self.kept)
        return pack(noised, self.bits), (points - dither) * self.grid.step, clip

    def _plain(self, entries: Vector, chosen: NDArray[np.intp] | None) -> tuple[Bytes, Vector, float]:
        if self.bits == FULL_BITS:
            with np.errstate(over="ignore"):  # an overflow is reported on the next line
                single = entries.astype("<f4")
            if not np.all(np.isfinite(single)):
                raise NotFiniteError("the update does not fit into float32")
            return single.view(np.uint8), single.astype(np.float64), 1.0
        dither = self.seed.dither(self.kept)
        counts = self._counts(chosen)
        ends = np.cumsum(counts)
        parts = (entries[end - count : end] for end, count in zip(ends, counts, strict=True))
        # Half a step of room for the dither: no lane saturates.
        room = capacity(self.bits) - 0.5
        scales = np.array([float(np.max(np.abs(part), initial=0.0)) / room for part in parts], "<f8")
        spread = np.repeat(scales, counts)
        points = np.rint(np.divide(entries, spread, out=np.zeros_like(entries), where=spread > 0) + dither)
        packed = pack(points.astype(np.int64), self.bits)
        return np.concatenate([scales.view(np.uint8), packed]), (points - dither) * spread, 1.0

    def _counts(self, chosen: NDArray[np.intp] | None) -> NDArray[np.intp]:
        """How many entries of each array are sent."""
        if chosen is None:
            return np.array([entry.size for entry in self.layout.entries], np.intp)
        bounds = [*(entry.start for entry in self.layout.entries), self.layout.size]
        return np.diff(np.searchsorted(chosen, bounds))


def attempt_of(message: NDArray[Any]) -> int:
    """Which attempt a message says it is; the receiver needs it to build the codec. Raises MessageError."""
    if message.dtype != np.uint8 or message.ndim != 1 or message.size < HEADER_BYTES:
        raise MessageError("the message has no header")
    return int.from_bytes(message[:HEADER_BYTES].tobytes(), "little")


def kept_entries(compression: Compression | None, size: int) -> int:
    """How many entries of a vector of `size` are sent. Raises CodecError for more than masks can name."""
    if size > MAX_PARAMETERS:
        raise CodecError(f"{size} parameters are more than {MAX_PARAMETERS}")
    if compression is None or compression.sparsity is None:
        return size
    return max(1, round(float(compression.sparsity.fraction) * size))
