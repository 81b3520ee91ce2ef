"""Ways to make a mean in one process, each a row of the benchmark `he`: without a key, with a public key, CKKS."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import tenseal

from e2e.benchmarks.he_rows import REACH, REPEATS, Federation, Row
from hanse.runtime.he import Points, engine_of
from hanse.runtime.he.engine import public_key_bfv

TUTORIAL_SLOTS: Final = 4096


def plain(federation: Federation) -> Row:
    """float32 arrays."""
    row = Row("plain")
    uploads = []
    for update, weight in zip(federation.updates, federation.weights, strict=True):
        with row.timed("encrypt"):
            uploads.append((update * np.float32(weight)).tobytes())
    total = np.zeros(federation.size)
    for upload in uploads:
        with row.timed("add"):
            total += np.frombuffer(upload, np.float32)
    with row.timed("total"):
        down = (total / sum(federation.weights)).astype(np.float32).tobytes()
    with row.timed("decrypt"):
        mean = np.frombuffer(down, np.float32).astype(np.float64)
    row.upload, row.total = len(uploads[0]), len(down)
    row.error = federation.error(mean)
    return row


def engine(name: str, federation: Federation) -> Row:
    """None, or BFV-public: an engine without worker processes."""
    row = Row(name)
    engine = public_key_bfv() if name == "BFV-public" else engine_of(name)  # type: ignore[arg-type]
    key, adding = engine.round_key(engine.keygen(), 1), engine.totalling(federation.size)
    uploads = uploaded(row, federation, lambda points: engine.encrypt(key, points))
    for upload in uploads:
        with row.timed("add"):
            adding.add(upload)
    for _ in range(REPEATS):
        with row.timed("total"):
            total = adding.total()
        received(row, federation, lambda: engine.decrypt(key, total, federation.size))  # noqa: B023 - called here
    row.upload, row.total = len(uploads[0]), len(total)
    return row


def uploaded(row: Row, federation: Federation, encrypt: Callable[[Points], bytes]) -> list[bytes]:
    """What each client sends."""
    codec, uploads = federation.codec, list[bytes]()
    for index, update in enumerate(federation.updates):
        vector = update.astype(np.float64)
        with row.timed("quantise"):
            points = codec.quantise(vector, index).points
        with row.timed("encrypt"):
            uploads.append(encrypt(points))
    return uploads


def received(row: Row, federation: Federation, decrypt: Callable[[], Points]) -> None:
    """What one client makes of the total."""
    codec = federation.codec
    with row.timed("decrypt"):
        found = decrypt()
    with row.timed("mean"):
        mean = codec.mean(found, sum(federation.weights))
    row.error = federation.error(mean)


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
