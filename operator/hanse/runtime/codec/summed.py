"""What one participant puts into an encrypted sum, and the mean back: `SumCodec`, the same at every gate.

Called by the gate with encryption on. Every participant's grid is the same (`sumgrid`: bounds, proofs), so the engine's
integer sum of all points is the sum of all vectors; entries are rounded to nearest, without a dither. Random-k takes
its mask from agreement and round, the same for all. The server needs nothing of this: it adds ciphertexts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hanse.api.compression import Compression
from hanse.api.privacy import PrivacyPlan
from hanse.runtime.codec.codec import kept_entries
from hanse.runtime.codec.errors import CodecError, MessageError, NoiseMissingError, NotFiniteError
from hanse.runtime.codec.layout import Layout, Vector
from hanse.runtime.codec.mask import Mask
from hanse.runtime.codec.public import PublicSeed
from hanse.runtime.codec.rounding import factor
from hanse.runtime.codec.sumgrid import CAPACITY, Members, PlainGrid, PrivateGrid, SumDemand, plain, private
from hanse.runtime.noise import ReleaseNoise, sampler_delta

Points = NDArray[np.int64]


@dataclass(frozen=True)
class Quantised:
    """What is encrypted, int64 of shape (kept,), and what stays for the next round (None: nothing ever does).

    `carried` is float64 of shape (layout.size,), in the vector's own units; keep it only once the round has counted.
    """

    points: Points
    carried: Vector | None


@dataclass(frozen=True)
class SumCodec:
    """The codec of one round of one job."""

    layout: Layout
    seed: PublicSeed
    members: Members
    grid: PlainGrid | PrivateGrid
    kept: int
    feedback: bool

    @classmethod
    def of(
        cls,
        layout: Layout,
        number: int,
        agreement: str,
        members: Sequence[tuple[float, float]],
        plan: PrivacyPlan | None,
        compression: Compression | None = None,
        reach: float | None = None,
    ) -> Self:
        """The codec of round `number` under `agreement` (`EncryptionPlan.agreement`).

        `members`: (scale, mass) of each participant in the roster's order. `plan` is the participant's own or any
        other's of the job: what differs between them does not count here. `reach`: without differential privacy, the
        largest magnitude of an entry; larger ones saturate. Pure, and cheap enough for every round.
        Raises GridTooCoarseError, and CodecError for what cannot be.
        """
        kept = kept_entries(compression, layout.size)
        feedback = compression is not None and compression.error_feedback
        everyone: Members = tuple((float(scale), float(mass)) for scale, mass in members)
        if compression is not None and compression.quantization_bits is not None:
            raise CodecError("an encrypted sum has lanes of its own: quantizationBits does not apply")
        grid = _plain(everyone, reach) if plan is None else _private(plan, number, kept, everyone, feedback)
        return cls(layout, PublicSeed(agreement, number, 1), everyone, grid, kept, feedback)

    @property
    def amplification(self) -> float:
        """What the mean is multiplied with: random-k without error feedback is unbiased so."""
        return 1.0 if self.feedback else self.layout.size / self.kept

    def quantise(
        self, vector: Vector, member: int, noise: ReleaseNoise | None = None, carried: Vector | None = None
    ) -> Quantised:
        """The points of `members[member]` for a vector of shape (layout.size,), float64: an update, or a gradient sum.

        `noise` is used up; it is needed exactly when the plan is private. `carried` is what the last round left.
        Without differential privacy entries beyond the range are cut, and what is cut or rounded off is carried.
        Raises NotFiniteError, NoiseMissingError, CodecError, and NoiseError from the noise.
        """
        if (noise is None) != isinstance(self.grid, PlainGrid):
            raise NoiseMissingError("a private release needs noise, and no other takes any")
        if vector.shape != (self.layout.size,):
            raise CodecError(f"a vector of shape {vector.shape} is not one of {self.layout.size} parameters")
        if not 0 <= member < len(self.members):
            raise CodecError(f"member {member} is none of {len(self.members)}")
        full = vector if carried is None else vector + carried
        if not np.all(np.isfinite(full)):
            raise NotFiniteError("the update holds NaN or infinity")
        mask = Mask.of(self.seed, self.kept, self.layout.size)
        entries = mask.gather(full)
        scale = self.members[member][0]
        if isinstance(self.grid, PlainGrid):
            limit = self.grid.limits[member]
            points = np.clip(np.rint(entries * (scale / self.grid.step)), -limit, limit)
            sent = points * (self.grid.step / scale)
            left = full - mask.scatter(sent) if self.feedback else mask.scatter(entries - sent)
            return Quantised(points.astype(np.int64), left)
        assert noise is not None
        fine, clip = _fine_points(entries, scale, self.grid, member)
        points = _noised(fine, self.grid, noise)
        if not self.feedback:
            return Quantised(points, None)
        sent = fine * (self.grid.step / 2.0**self.grid.fine / scale)
        return Quantised(points, full * clip - mask.scatter(sent))

    def mean(self, total: Points, mass: float) -> Vector:
        """The mean of a sum of points, float64 of shape (layout.size,); entries outside of the mask are zero.

        `mass`: of all whose points are in the sum. Raises MessageError for a sum that this round's points cannot make.
        """
        if total.dtype != np.int64 or total.shape != (self.kept,):
            raise MessageError(f"a sum of this round has {self.kept} integers")
        if np.any(np.abs(total) > CAPACITY):
            raise MessageError("the sum is larger than its lanes")
        if not 0 < mass < float("inf"):
            raise MessageError(f"a mass of {mass:g} is none")
        entries: Vector = total * np.float64(self.grid.step * self.amplification / mass)
        return Mask.of(self.seed, self.kept, self.layout.size).scatter(entries)


def check_rounds(
    layout: Layout,
    members: Sequence[tuple[float, float]],
    plan: PrivacyPlan,
    compression: Compression | None,
    epsilon: float,
) -> float:
    """That every round of a private plan has a grid, and that the sampler stays within its share of delta.

    `epsilon`: the largest that is claimed for the plan, against any adversary. Returns what the sampler adds to delta.
    Raises CodecError and NoiseError. A gate asks before round 1.
    """
    sigmas = set[float]()
    kept = kept_entries(compression, layout.size)
    for number in range(1, plan.rounds + 1):
        grid = SumCodec.of(layout, number, "", members, plan, compression).grid
        assert isinstance(grid, PrivateGrid)
        sigmas.add(grid.fine_sigma)
    draws = kept * plan.rounds * plan.max_attempts * len(members)
    # A table is slow to make: all draws are counted at the smallest and at the largest noise instead.
    return sampler_delta(dict.fromkeys((min(sigmas), max(sigmas)), draws), epsilon, float(plan.delta))


def _plain(members: Members, reach: float | None) -> PlainGrid:
    if reach is None:
        raise CodecError("without differential privacy a sum needs the range of its entries")
    return plain(members, reach)


def _private(plan: PrivacyPlan, number: int, kept: int, members: Members, feedback: bool) -> PrivateGrid:
    if feedback and plan.unit == "Record":
        raise CodecError("error feedback would carry records into rounds that did not draw them")
    if not 1 <= number <= plan.rounds:
        raise CodecError(f"round {number} is not in the plan's {plan.rounds}")
    demand = SumDemand(
        unit=plan.unit,
        clip=float(plan.clip),
        noise_multiplier=float(plan.noise_multipliers[number - 1]),
        shares=plan.shares or 1,
        lanes=kept,
        sums=plan.rounds * plan.max_attempts,
        members=members,
    )
    return private(demand)


def _fine_points(entries: Vector, scale: float, grid: PrivateGrid, member: int) -> tuple[Vector, float]:
    """Fine grid points without the noise, float64, and the factor of the clip."""
    # In real units first: dividing an entry near the largest float by the step would overflow.
    ball, box = grid.balls[member], grid.bounds[member]
    clip = factor(entries, ball * grid.step / scale)
    points = entries * clip
    # In place from here on: a model's vectors are large.
    points *= scale / grid.step
    np.clip(points, -box, box, out=points)
    points *= 2.0**grid.fine
    return np.rint(points, out=points), clip


def _noised(fine: Vector, grid: PrivateGrid, noise: ReleaseNoise) -> Points:
    """With this gate's share of the noise, rounded to the grid that is sent: half a step up, then the floor."""
    noised = noise.draw(grid.fine_sigma, len(fine))
    noised += fine.astype(np.int64)
    noised += (1 << grid.fine) >> 1
    noised >>= grid.fine
    return noised
