"""What the rows of the benchmark `he` share: CPU seconds of a process and its children, and the updates to add."""

import resource
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.codec import Layout
from hanse.runtime.codec.summed import SumCodec

Floats = NDArray[np.float64]

REACH: Final = 0.05
#: Of what is done once a round.
REPEATS: Final = 3


def cpu_seconds() -> float:
    """Of this process and all its children so far, those alive too (by the scheduler's nanoseconds)."""
    own = time.process_time()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    alive = 0.0
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            alive += sum(int((each / "schedstat").read_text().split()[0]) for each in _threads(child)) / 1e9
    return own + ended.ru_utime + ended.ru_stime + alive


def _threads(pid: str) -> list[Path]:
    return list((Path("/proc") / pid / "task").iterdir())


@dataclass
class Row:
    """One way to make a mean: CPU seconds by what was done, bytes up and down."""

    name: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    upload: int = 0
    total: int = 0
    error: float = 0.0

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Count what happens inside."""
        start = cpu_seconds()
        yield
        self.seconds.setdefault(what, []).append(cpu_seconds() - start)

    def median(self, *names: str) -> float:
        """Sum of the medians."""
        return sum(statistics.median(self.seconds.get(name, [0.0])) for name in names)

    @property
    def client(self) -> float:
        """CPU seconds of one client in one round, without what it signs and verifies."""
        return self.median("quantise", "encrypt", "decrypt", "mean")

    @property
    def bytes(self) -> int:
        """Up and down."""
        return self.upload + self.total


@dataclass(frozen=True)
class Federation:
    """The updates of all clients, their weights, and the mean that is right."""

    updates: list[NDArray[np.float32]]
    weights: list[float]

    @classmethod
    def of(cls, parameters: int, clients: int) -> "Federation":
        """Drawn from a fixed seed."""
        generator = np.random.default_rng(0)
        drawn = [generator.standard_normal(parameters, np.float32) for _ in range(clients)]
        counts = generator.integers(1000, 5000, clients)
        return cls([np.clip(each * np.float32(0.01), -REACH, REACH) for each in drawn], list(counts / counts.max()))

    @property
    def size(self) -> int:
        """Parameters."""
        return len(self.updates[0])

    @property
    def codec(self) -> SumCodec:
        """The grid of all clients."""
        members = [(weight, weight) for weight in self.weights]
        return SumCodec.of(Layout.of({"w": self.updates[0]}), 1, "sha256:bench", members, None, None, REACH)

    def error(self, mean: Floats) -> float:
        """The largest error of a mean, over an entry's range."""
        return float(np.abs(mean - self.mean).max() / (2 * REACH))

    @property
    def mean(self) -> Floats:
        """The mean that is right."""
        total = np.zeros(len(self.updates[0]))
        for update, weight in zip(self.updates, self.weights, strict=True):
            total += update.astype(np.float64) * weight
        return total / sum(self.weights)
