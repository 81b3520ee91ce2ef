"""What homomorphic encryption costs: CPU seconds and bytes of one round of ResNet-18 with ten clients.

usage: python -m e2e.benchmarks.he [--parameters N] [--clients K] [--tutorial-clients K]

`scripts/bench he` calls it. One run measures, in this order, each on the same updates:

* plain: float32 arrays, as Flower sends them;
* None: integers on the grid, packed, without encryption;
* BFV: what gates do, a symmetric seeded upload through `Cipher` and `Summing` (their processes are counted);
* BFV-public: the same with a public key, in this process;
* tutorial CKKS: degree 8192, [60, 40, 40, 60], scale 2^40, public key, one ckks_vector for each 4,096 parameters;
  weights are applied before encryption: its best case.

Seconds are medians of CPU (user and system) of this process and its living and ended children, not of the clock; a
worker's start, once a job, is apart. A client's part is from quantise (`SumCodec`, without noise) over packing,
encryption and serialisation to parsing, decryption, unpacking and the mean as float64. For tutorial CKKS it is from the
float64 update to the float64 mean. Only the first `--tutorial-clients` encrypt there (a client takes half a minute);
their uploads are added in turn until ten are.

The keys of the last line:

* client_cpu_ratio: a client's CPU seconds of tutorial CKKS over those of BFV as gates use it (seeded);
  client_cpu_ratio_public: over those of BFV with a public key.
* bytes_ratio: upload and download of a client with tutorial CKKS over those of BFV as gates use it;
  bytes_ratio_public: of BFV with a public key.
* bytes_per_param: of an upload with a public key, and of a total in either form; bytes_per_param_seeded: of an upload
  from a gate.
* critical_path_cpu_seconds: one client's encryption, the server's last addition and the total (it adds as uploads come,
  and an upload takes longer over 1 Gbit/s than adding it), one verifier's digests, ten additions and total, one
  client's decryption: one after another, each on one core. critical_path_at_once_cpu_seconds: the same where all ten
  uploads come at one moment and wait for each other at the server.
* max_abs_error: of the decrypted mean of BFV against the float64 mean, over the range of an entry (twice the reach).
* client_share, round_share: a client's CPU seconds, and critical_path_cpu_seconds, of a round of 60 s.
"""

import argparse
import hashlib
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import tenseal
from numpy.typing import NDArray

from hanse.runtime.codec import Layout
from hanse.runtime.codec.summed import SumCodec
from hanse.runtime.he import Cipher, Points, Summing, engine_of
from hanse.runtime.he.engine import public_key_bfv

Floats = NDArray[np.float64]

RESNET18: Final = 11_689_512
REACH: Final = 0.05
TUTORIAL_SLOTS: Final = 4096
ROUND_SECONDS: Final = 60
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
        """CPU seconds of one client in one round."""
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
        generator = np.random.default_rng(0)
        drawn = [generator.standard_normal(parameters, np.float32) for _ in range(clients)]
        counts = generator.integers(1000, 5000, clients)
        return cls([np.clip(each * np.float32(0.01), -REACH, REACH) for each in drawn], list(counts / counts.max()))

    @property
    def mean(self) -> Floats:
        total = np.zeros(len(self.updates[0]))
        for update, weight in zip(self.updates, self.weights, strict=True):
            total += update.astype(np.float64) * weight
        return total / sum(self.weights)


# --- ours ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """How points become a sum."""

    encrypt: Callable[[Points], bytes]
    add: Callable[[bytes], None]
    total: Callable[[], bytes]
    decrypt: Callable[[bytes], Points]


def measure(row: Row, federation: Federation, way: Way) -> Row:
    """One round: all clients, the server, one verifier, one decryption."""
    size = len(federation.updates[0])
    members = [(weight, weight) for weight in federation.weights]
    codec = SumCodec.of(Layout.of({"w": federation.updates[0]}), 1, "sha256:bench", members, None, None, REACH)
    uploads = []
    for index, update in enumerate(federation.updates):
        vector = update.astype(np.float64)
        with row.timed("quantise"):
            points = codec.quantise(vector, index).points
        with row.timed("encrypt"):
            uploads.append(way.encrypt(points))
    with row.timed("digests"):
        for upload in uploads:
            hashlib.sha256(upload).digest()
    for upload in uploads:
        with row.timed("add"):
            way.add(upload)
    for _ in range(REPEATS):
        with row.timed("total"):
            total = way.total()
        with row.timed("decrypt"):
            found = way.decrypt(total)
        with row.timed("mean"):
            mean = codec.mean(found, sum(federation.weights))
    row.upload, row.total = len(uploads[0]), len(total)
    row.error = float(np.abs(mean - federation.mean).max() / (2 * REACH))
    assert mean.shape == (size,)
    return row


def in_this_process(name: str, federation: Federation) -> Row:
    """An engine without worker processes."""
    engine = public_key_bfv() if name == "BFV-public" else engine_of(name)  # type: ignore[arg-type]
    size = len(federation.updates[0])
    key = engine.round_key(engine.keygen(), 1)
    adding = engine.totalling(size)
    way = Way(
        lambda points: engine.encrypt(key, points),
        adding.add,
        adding.total,
        lambda total: engine.decrypt(key, total, size),
    )
    return measure(Row(name), federation, way)


def in_workers(federation: Federation) -> Row:
    """BFV as gates and server use it: one core a client, so one process."""
    row = Row("BFV")
    size = len(federation.updates[0])
    key = engine_of("BFV").keygen()
    with Cipher("BFV", key, processes=1) as cipher:
        with row.timed("start"):
            cipher.encrypt(1, np.zeros(1, np.int64))
        with Summing("BFV", size) as summing:
            warm = engine_of("BFV").encrypt(key, np.zeros(size, np.int64))
            summing.add(warm)
            summing.reset()
            way = Way(
                lambda points: cipher.encrypt(1, points),
                summing.add,
                summing.total,
                lambda total: cipher.decrypt(1, total, size),
            )
            return measure(row, federation, way)


# --- the others ------------------------------------------------------------------------------------------------------


def plain(federation: Federation) -> Row:
    """float32 arrays."""
    row = Row("plain")
    uploads = []
    for update, weight in zip(federation.updates, federation.weights, strict=True):
        with row.timed("encrypt"):
            uploads.append((update * np.float32(weight)).tobytes())
    total = np.zeros(len(federation.updates[0]))
    for upload in uploads:
        with row.timed("add"):
            total += np.frombuffer(upload, np.float32)
    with row.timed("total"):
        down = (total / sum(federation.weights)).astype(np.float32).tobytes()
    with row.timed("decrypt"):
        mean = np.frombuffer(down, np.float32).astype(np.float64)
    row.upload, row.total = len(uploads[0]), len(down)
    row.error = float(np.abs(mean - federation.mean).max() / (2 * REACH))
    return row


def tutorial(federation: Federation, distinct: int) -> Row:
    """CKKS as tutorials use it."""
    row = Row("tutorial CKKS")
    secret = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40, 60])
    secret.global_scale = 2**40
    public = tenseal.context_from(secret.serialize(save_secret_key=False))
    share = np.array(federation.weights) / sum(federation.weights)
    uploads: list[list[bytes]] = []
    for update, weight in zip(federation.updates[:distinct], share[:distinct], strict=True):
        vector = update.astype(np.float64)
        with row.timed("encrypt"):
            scaled = vector * weight
            parts = [scaled[at : at + TUTORIAL_SLOTS] for at in range(0, len(scaled), TUTORIAL_SLOTS)]
            uploads.append([tenseal.ckks_vector(public, part).serialize() for part in parts])
    row.upload = sum(map(len, uploads[0]))
    total: list[Any] = []
    for index in range(len(federation.updates)):
        with row.timed("add"):
            found = [tenseal.ckks_vector_from(public, part) for part in uploads[index % distinct]]
            total = [held + one for held, one in zip(total, found, strict=True)] if total else found
    with row.timed("total"):
        down = [each.serialize() for each in total]
    row.total = sum(map(len, down))
    for _ in range(REPEATS):
        with row.timed("decrypt"):
            mean = np.concatenate([tenseal.ckks_vector_from(secret, part).decrypt() for part in down])
    times = np.bincount(np.arange(len(federation.updates)) % distinct)
    expected = sum(
        (n * w * u.astype(np.float64) for n, w, u in zip(times, share, federation.updates[:distinct], strict=False)),
        np.zeros(len(mean)),
    )
    row.error = float(np.abs(mean - expected).max() / (2 * REACH))
    return row


# --- report ----------------------------------------------------------------------------------------------------------


def metrics_of(bfv: Row, public: Row, ckks: Row, clients: int, parameters: int) -> dict[str, float]:
    """What the module's docstring defines."""
    ends = bfv.client
    verifier = bfv.median("digests", "total") + clients * bfv.median("add")
    server = bfv.median("total") + clients * bfv.median("add")
    last = bfv.median("total") + bfv.median("add")
    return {
        "client_cpu_ratio": ckks.client / bfv.client,
        "client_cpu_ratio_public": ckks.client / public.client,
        "bytes_ratio": ckks.bytes / bfv.bytes,
        "bytes_ratio_public": ckks.bytes / public.bytes,
        "bytes_per_param": public.upload / parameters,
        "bytes_per_param_seeded": bfv.upload / parameters,
        "bytes_per_param_total": bfv.total / parameters,
        "verifier_bytes_per_param": clients * bfv.upload / parameters,
        "client_cpu_seconds": bfv.client,
        "server_cpu_seconds": server,
        "verifier_cpu_seconds": verifier,
        "worker_start_cpu_seconds": bfv.median("start"),
        "critical_path_cpu_seconds": ends + last + verifier,
        "critical_path_at_once_cpu_seconds": ends + server + verifier,
        "max_abs_error": bfv.error,
        "client_share": ends / ROUND_SECONDS,
        "round_share": (ends + last + verifier) / ROUND_SECONDS,
    }


def show(row: Row, parameters: int) -> None:
    """One line of the table."""
    parts = ", ".join(f"{name} {row.median(name):.3f}" for name in row.seconds)
    up, down = row.upload / parameters, row.total / parameters
    sys.stdout.write(
        f"{row.name:14s} client {row.client:7.3f} s, up {up:6.2f} and down {down:6.2f} B a parameter, "
        f"error {row.error:.1e} of the range ({parts})\n"
    )
    sys.stdout.flush()


def main() -> None:
    """Print a table and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=int, default=RESNET18)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--tutorial-clients", type=int, default=2, help="of them encrypt with tutorial CKKS")
    chosen = parser.parse_args()
    size, clients = chosen.parameters, chosen.clients
    federation = Federation.of(size, clients)
    show(plain(federation), size)
    show(in_this_process("None", federation), size)
    bfv = in_workers(federation)
    show(bfv, size)
    public = in_this_process("BFV-public", federation)
    show(public, size)
    ckks = tutorial(federation, min(chosen.tutorial_clients, clients))
    show(ckks, size)
    rounded = {name: float(f"{value:.4g}") for name, value in metrics_of(bfv, public, ckks, clients, size).items()}
    sys.stdout.write(json.dumps({"name": "he", "cpus": os.cpu_count(), "metrics": rounded}) + "\n")


if __name__ == "__main__":
    main()
