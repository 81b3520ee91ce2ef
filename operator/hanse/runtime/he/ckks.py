"""CKKS (Cheon, Kim, Kim, Song 2017) for sums of integers: selectable, for comparison with what tutorials use.

Degree 4096, one prime of 56 bits (far under the 109 bits that are allowed for 128 bits of security), scale 2^36, one
point a slot. Additions only.

Why it is not the default. A decrypted CKKS value carries the error that hides the key: who sees decrypted values (or a
model made of them) and the ciphertexts solves for the key by linear algebra (Li and Micciancio, EUROCRYPT 2021;
measured with TenSEAL's own API in 0.03 s). Against that:

1. Points are integers, and a total is rounded to integers before anything else sees it. The error before rounding is at
   most 64 x 21.5 (SEAL's centred binomial ends at 21; encoding adds one half) x 4096 / 2^36 < 0.0001 steps, so what
   leaves is the exact sum, which is a function of the plain updates alone: it shows nothing of the error or the key.
2. Before rounding each value gets noise uniform in +-1/4 step from the operating system (flooding), 2^11 times the
   largest error, so that a value used before rounding by mistake shows less than 2^-11 a value of it. The sum is at
   most 0.2501 steps off before it is rounded.
3. Each round has a new key, derived from the job's with HKDF, which every holder derives alike.

Its weakness that stays: (1) is arithmetic on honest ciphertexts, not a property of the scheme. A crafted ciphertext
with an error near half a step rounds one way or the other by the key's error terms, and a decryptor that answers is an
oracle for them; totals whose error is over 1/8 step are refused, which is such an answer too. Gates decrypt only what
they have recomputed from signed uploads, so this needs a participant. Prefer BFV: it is also a quarter of the bytes.
"""

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tenseal.sealapi as sealapi
from numpy.typing import NDArray

from hanse.runtime.he.blob import Form
from hanse.runtime.he.engine import LANE_LIMIT, Points
from hanse.runtime.he.errors import DecryptionImplausible
from hanse.runtime.he.keys import Material
from hanse.runtime.he.rlwe import Chunks, Total
from hanse.runtime.he.seal import Parameters, Seal

if TYPE_CHECKING:
    from hanse.api.encryption import Half

PARAMETERS: Final = Parameters("CKKS", degree=4096, moduli=(56,), scale=2.0**36)
BITS: Final = 56
#: Largest distance from an integer that a sum of 64 may have before flooding; a thousand times what it can have.
TOLERANCE: Final = 1 / 8
FLOODING: Final = 1 / 4


class Ckks:
    """The kernel of CKKS; not safe for threads."""

    form: Final = Form.SEEDED

    def __init__(self) -> None:
        self._seal = Seal(PARAMETERS)
        self._chunks = Chunks(self._seal, BITS)
        self._encoder = sealapi.CKKSEncoder(self._seal.context)
        self._secret = lru_cache(maxsize=2)(self._expand)
        self._confirmed = lru_cache(maxsize=1)(self._confirm)

    def keygen(self) -> bytes:
        """A new key of a job."""
        seed = Material.new_seed()
        return Material.made("CKKS", seed, self._seal.secret(seed)[1]).to_bytes()

    def round_key(self, key: bytes, number: int) -> bytes:
        """The key of round `number`."""
        return self._confirmed(key).of_round(number)

    def _confirm(self, key: bytes) -> Material:
        material = Material.parse(key, "CKKS", of_round=False)
        material.confirm(self._seal.secret(material.seed)[1])
        return material

    def _expand(self, key: bytes) -> Any:
        return self._seal.secret(Material.parse(key, "CKKS", of_round=True).seed)[0]

    def encrypt(self, key: bytes, points: Points) -> bytes:
        """The chunks of an upload."""
        encryptor = sealapi.Encryptor(self._seal.context, self._secret(key))
        slots = self._seal.degree // 2
        body = np.zeros(-(-len(points) // slots), self._chunks.seeded)
        plain = sealapi.Plaintext()
        values = np.zeros(len(body) * slots)
        values[: len(points)] = points
        for index in range(len(body)):
            self._encoder.encode(values[index * slots : (index + 1) * slots].tolist(), PARAMETERS.scale, plain)
            self._chunks.write_seeded(encryptor.encrypt_symmetric(plain), body[index])
        return body.tobytes()

    def total(self, chunks: int, half: "Half | None" = None) -> Total:
        """An empty sum, of uploads or of one half of them."""
        return Total(self._chunks, chunks, self.form, half)

    def decrypt(self, key: bytes, body: memoryview, count: int) -> Points:
        """The points of a total, flooded and rounded."""
        values = self.approximate(key, body)
        nearest = np.rint(values)
        if np.abs(nearest).max() > LANE_LIMIT or np.abs(values - nearest).max() > TOLERANCE or nearest[count:].any():
            raise DecryptionImplausible("a decrypted total is not near integers: another key, or not a sum")
        return np.rint(values[:count] + _flooding(count)).astype(np.int64)

    def approximate(self, key: bytes, body: memoryview) -> NDArray[np.float64]:
        """All slots as CKKS decrypts them, with the error that shows the key: for `decrypt` and attacks in tests."""
        decryptor = sealapi.Decryptor(self._seal.context, self._secret(key))
        found = np.frombuffer(body, self._chunks.full)
        values = np.empty((len(found), self._seal.degree // 2))
        plain = sealapi.Plaintext()
        for index in range(len(found)):
            decryptor.decrypt(self._chunks.load(found[index]), plain)
            values[index] = np.fromiter(self._encoder.decode_double(plain), np.float64, values.shape[1])
        flat: NDArray[np.float64] = values.reshape(-1)
        return flat


def _flooding(count: int) -> NDArray[np.float64]:
    """Uniform in [-FLOODING, FLOODING), in 2^32 steps."""
    drawn = np.frombuffer(os.urandom(4 * count), np.uint32)
    noise: NDArray[np.float64] = (drawn.astype(np.float64) * 2.0**-31 - 1) * FLOODING
    return noise
