"""What an engine of homomorphic encryption is, and which there are; called by gates, the server's workers and tests.

All engines take integers and give the exact integer sum back. A model is one vector of k points; its ciphertext is one
blob (`blob.py` has the layout), whatever the engine cuts it into.
"""

from __future__ import annotations  # `Scheme` is pydantic's world, which a worker process does without

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.he.blob import HEADER_BYTES, Form
from hanse.runtime.he.planes import SEED_BYTES

if TYPE_CHECKING:
    from hanse.api.encryption import Half, Scheme
    from hanse.runtime.he.framed import FramedEngine

Points = NDArray[np.int64]
KeyHolders = Literal["None", "Shared", "Threshold"]

LANE_BITS: Final = 19
#: Largest magnitude of a point, and of a sum of points, that a lane holds with either sign.
LANE_LIMIT: Final = (1 << (LANE_BITS - 1)) - 1


@dataclass(frozen=True)
class Facts:
    """What an engine declares of itself."""

    scheme: Scheme
    key_holders: KeyHolders  # Shared: every gate holds the whole key, and so can read every ciphertext
    lane_bits: int  # bits of a point's lane
    lane_limit: int  # largest magnitude of a point and of every sum: keep |sum| <= lane_limit
    most_clients: int  # summands of one total
    error_steps: float  # largest error of a decrypted sum in grid steps, as returned (0: exact)
    margin_steps: float  # largest error before rounding, in grid steps: exact while this is under one half
    slots: int  # points of one chunk
    upload_chunk_bytes: int
    total_chunk_bytes: int
    coefficient_bits: int  # of the polynomials on the wire; 0: there are none, and no halves

    @property
    def bytes_per_parameter(self) -> float:
        """Of an upload, for a model of many chunks."""
        return self.upload_chunk_bytes / self.slots

    @property
    def total_bytes_per_parameter(self) -> float:
        """Of a total, for a model of many chunks."""
        return self.total_chunk_bytes / self.slots

    def max_ciphertext_bytes(self, count: int, half: Half | None = None) -> int:
        """Bytes of the upload of `count` points, or of half of it: always exactly this many."""
        seeds = SEED_BYTES if self.coefficient_bits else 0
        size = {None: self.upload_chunk_bytes, "Bodies": self.upload_chunk_bytes - seeds, "Seeds": seeds}[half]
        return HEADER_BYTES + self.chunks(count) * size

    def max_total_bytes(self, count: int, half: Half | None = None) -> int:
        """Bytes of the total of `count` points, or of half of it: always exactly this many."""
        return HEADER_BYTES + self.chunks(count) * self.total_chunk_size(half)

    def total_chunk_size(self, half: Half | None) -> int:
        """Bytes of a total's chunk, or of half of it."""
        seeds = self.total_chunk_bytes // 2 if self.coefficient_bits else 0
        return {None: self.total_chunk_bytes, "Bodies": self.total_chunk_bytes - seeds, "Seeds": seeds}[half]

    def chunks(self, count: int) -> int:
        """Ciphertexts of the scheme that `count` points take."""
        return -(-count // self.slots)


class Engine(Protocol):
    """Keys, encryption, addition and decryption of one scheme. Stateless: each call is told its key."""

    @property
    def facts(self) -> Facts:
        """What this engine can do and costs."""
        ...

    def keygen(self) -> bytes:
        """A job's key material, whole and secret."""
        ...

    def round_key(self, key: bytes, round: int) -> bytes:
        """The key of a round, derived alike by every holder of the job's. Raises KeyInvalid."""
        ...

    def encrypt(self, key: bytes, points: Points) -> bytes:
        """The ciphertext of points of shape (k,), k >= 1, under a round's key; another one at each call.

        Raises PointOutOfRange for a magnitude over `facts.lane_limit`, KeyInvalid.
        """
        ...

    def add(self, ciphertexts: Iterable[bytes], count: int) -> bytes:
        """The total of 1 to `facts.most_clients` ciphertexts of `count` points each; needs no secret.

        Canonical: the same bytes whatever the order, and on every machine. Raises CiphertextInvalid,
        TooManyCiphertexts. A hostile ciphertext belongs into a worker process: `Summing`.
        """
        ...

    def decrypt(self, key: bytes, total: bytes, count: int) -> Points:
        """The sum of the points, shape (count,), under a round's key.

        Takes what `add` gives, never one upload. Raises CiphertextInvalid, KeyInvalid, DecryptionImplausible.
        """
        ...


#: Sizes of chunks follow from degree and primes (bfv.py, ckks.py); tests hold them to what the kernels write.
FACTS: Final[dict[str, Facts]] = {
    "None": Facts(
        scheme="None",
        key_holders="None",
        lane_bits=LANE_BITS,
        lane_limit=LANE_LIMIT,
        most_clients=1024,
        error_steps=0.0,
        margin_steps=0.0,
        slots=3,
        upload_chunk_bytes=8,
        total_chunk_bytes=8,
        coefficient_bits=0,
    ),
    "BFV": Facts(
        scheme="BFV",
        key_holders="Shared",
        lane_bits=LANE_BITS,
        lane_limit=LANE_LIMIT,
        most_clients=1024,
        error_steps=0.0,
        margin_steps=0.0,
        slots=3 * 4096,
        upload_chunk_bytes=2 * 4096 * 5 + 64,
        total_chunk_bytes=2 * 2 * 4096 * 5,
        coefficient_bits=40,
    ),
    "CKKS": Facts(
        scheme="CKKS",
        key_holders="Shared",
        lane_bits=LANE_BITS,
        lane_limit=LANE_LIMIT,
        most_clients=64,
        error_steps=0.0,
        margin_steps=0.2501,
        slots=2048,
        upload_chunk_bytes=4096 * 7 + 64,
        total_chunk_bytes=2 * 4096 * 7,
        coefficient_bits=56,
    ),
}


def facts_of(scheme: Scheme) -> Facts:
    """What the engine of a scheme declares. Loads nothing."""
    return FACTS[scheme]


def engine_of(scheme: Scheme) -> FramedEngine:
    """The engine of a scheme, an `Engine`. TenSEAL is loaded for BFV and CKKS alone."""
    from hanse.runtime.he.framed import FramedEngine

    facts = FACTS[scheme]
    match scheme:
        case "BFV":
            from hanse.runtime.he.bfv import Bfv

            return FramedEngine(facts, Bfv())
        case "CKKS":
            from hanse.runtime.he.ckks import Ckks

            return FramedEngine(facts, Ckks())
        case "None":
            from hanse.runtime.he.plain import Plain

            return FramedEngine(facts, Plain())


def public_key_bfv() -> FramedEngine:
    """BFV with a public key: uploads of both polynomials. For benchmarks; no gate uses it."""
    from hanse.runtime.he.bfv import Bfv
    from hanse.runtime.he.framed import FramedEngine

    facts = FACTS["BFV"]
    return FramedEngine(replace(facts, upload_chunk_bytes=facts.total_chunk_bytes), Bfv(Form.PUBLIC))
