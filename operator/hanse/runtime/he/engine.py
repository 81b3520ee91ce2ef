"""What an engine of homomorphic encryption is, and which there are; called by gates, the server's workers and tests.

All engines take integers and give the exact integer sum back. A model is one vector of k points; its ciphertext is one
blob (`blob.py` has the layout), whatever the engine cuts it into.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hanse.api.encryption import Scheme

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

    @property
    def bytes_per_parameter(self) -> float:
        """Of an upload, for a model of many chunks."""
        return self.upload_chunk_bytes / self.slots

    @property
    def total_bytes_per_parameter(self) -> float:
        """Of a total, for a model of many chunks."""
        return self.total_chunk_bytes / self.slots

    def max_ciphertext_bytes(self, count: int) -> int:
        """Bytes of the upload of `count` points: always exactly this many."""
        return HEADER_BYTES + self.chunks(count) * self.upload_chunk_bytes

    def max_total_bytes(self, count: int) -> int:
        """Bytes of the total of `count` points: always exactly this many."""
        return HEADER_BYTES + self.chunks(count) * self.total_chunk_bytes

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


HEADER_BYTES: Final = 32


def engine_of(scheme: Scheme) -> Engine:
    """The engine of a scheme. TenSEAL is loaded for BFV and CKKS alone."""
    raise NotImplementedError(scheme)
