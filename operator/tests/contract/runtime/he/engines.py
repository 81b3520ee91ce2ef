"""The engines, each with a key; made once, because a context of SEAL costs 25 ms of CPU."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from hanse.runtime.he import Engine, Points, engine_of
from hanse.runtime.he.engine import public_key_bfv

#: Whoever writes another engine adds it here; "BFV-public" is the benchmark's.
ENGINES = ("None", "BFV", "CKKS", "BFV-public")
ENCRYPTING = ("BFV", "CKKS", "BFV-public")
ROUND = 7


@dataclass(frozen=True)
class Keyed:
    """An engine with a job's key and a round's."""

    engine: Engine
    job: bytes
    key: bytes

    def points(self, count: int, clients: int = 1, seed: int = 0) -> list[Points]:
        """Points of so many clients, as large as their sum allows, with both extremes among them."""
        most = self.engine.facts.lane_limit // clients
        drawn = np.random.default_rng(seed).integers(-most, most + 1, (clients, count))
        drawn[:, 0], drawn[:, -1] = most, -most
        return list(drawn)

    def total(self, points: list[Points]) -> bytes:
        return self.engine.add([self.engine.encrypt(self.key, each) for each in points], len(points[0]))


@cache
def keyed_engine(name: str) -> Keyed:
    engine = public_key_bfv() if name == "BFV-public" else engine_of(name)  # type: ignore[arg-type]
    job = engine.keygen()
    return Keyed(engine, job, engine.round_key(job, ROUND))
