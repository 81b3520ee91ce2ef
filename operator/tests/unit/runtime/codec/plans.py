"""Plans and vectors that the codec's tests share."""

import numpy as np
from numpy.typing import NDArray

from hanse.api.compression import Compression, Sparsity
from hanse.api.privacy import PrivacyPlan, Unit
from hanse.runtime.codec import Layout, PublicSeed


def plan(
    unit: Unit,
    *multipliers: float,
    clip: str = "1.0",
    batch: int = 50,
    attempts: int = 1,
    epsilon: str = "3.0",
) -> PrivacyPlan:
    """A plan of one round for each noise multiplier."""
    record = unit == "Record"
    return PrivacyPlan(
        unit=unit,
        adjacency="AddRemove" if record else "Replace",
        epsilon=epsilon,
        delta="1e-5",
        clip=clip,
        sample_rate="0.1" if record else None,
        expected_batch=batch if record else None,
        max_attempts=attempts,
        noise_multipliers=[repr(round(value, 9)) for value in multipliers or (1.0,)],
    )


def compression(bits: int | None = None, fraction: str | None = None, *, feedback: bool = False) -> Compression:
    """As a job declares it."""
    sparsity = None if fraction is None else Sparsity(fraction=fraction)
    return Compression(quantization_bits=bits, sparsity=sparsity, error_feedback=feedback)


def layout(size: int) -> Layout:
    """A model of one array, or of two when it is large enough."""
    if size < 4:
        return Layout.of({"w": np.zeros(size)})
    return Layout.of({"a.weight": np.zeros((size - 3,), np.float32), "b.bias": np.zeros(3, np.float32)})


def seed(number: int = 1, attempt: int = 1) -> PublicSeed:
    """Of round `number`."""
    return PublicSeed("sha256:" + "ab" * 32, number, attempt)


def update(size: int, length: float, number: int = 0) -> NDArray[np.float64]:
    """A random direction of L2 norm `length`."""
    values = np.random.default_rng(number).normal(size=size)
    return np.asarray(values * (length / np.linalg.norm(values)))


class NoNoise:
    """A stream whose every draw is zero: the smallest word."""

    def words(self, count: int) -> NDArray[np.uint64]:
        """Zeros."""
        return np.zeros(count, np.uint64)
