"""BFV (Brakerski 2012, Fan and Vercauteren 2012) for sums: exact, three points of 19 bits a slot; the default engine.

Degree 4096, coefficient primes of 40, 40 and 29 bits (the last one for keys only, so a ciphertext is modulo 80 bits), a
plain prime of 59 bits that is 1 modulo 8192. 109 bits in all are what HomomorphicEncryption.org's table of 2018 allows
for 128 bits of security at this degree.

A key holder encrypts symmetrically: c1 is uniform and is sent as the seed it came from. Correctness of such a sum is
not statistical: the error of a fresh coefficient is at most 21 (SEAL's centred binomial of 42 coins, deviation 3.24)
plus one half from scaling, so a sum of K is off by at most 21.5 K, and decryption is exact while that is under
q / 2t = 2^20: K up to 48,000. `most_clients` is 1,024, where the worst sum has 5 bits of that left. With a public key
(the benchmark's form, no gate uses it) errors are about 74 times as large and the bound is statistical.

Everybody who holds the key reads every whole ciphertext under it. A decrypted total is exact, so it shows nothing of
the key's error terms, unlike CKKS. Malformed ciphertexts could still be told apart by how they decrypt: gates decrypt
what others have recomputed from signed uploads, and nothing else (`hanse.runtime.agreement`).
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tenseal.sealapi as sealapi

from hanse.runtime.he import lanes
from hanse.runtime.he.blob import Form
from hanse.runtime.he.engine import Points
from hanse.runtime.he.keys import Material
from hanse.runtime.he.rlwe import Chunks, Total
from hanse.runtime.he.seal import Parameters, Seal

if TYPE_CHECKING:
    from hanse.api.encryption import Half

PARAMETERS: Final = Parameters("BFV", degree=4096, moduli=(40, 40, 29), plain=59)
BITS: Final = 40


class Bfv:
    """The kernel of BFV; not safe for threads."""

    def __init__(self, form: Form = Form.SEEDED) -> None:
        self.form = form
        self._seal = Seal(PARAMETERS)
        self._chunks = Chunks(self._seal, BITS)
        self._encoder = sealapi.BatchEncoder(self._seal.context)
        self._prime = PARAMETERS.to_seal().plain_modulus().value()
        self._secret = lru_cache(maxsize=1)(self._expand)  # a context from a seed costs 25 ms

    def keygen(self) -> bytes:
        """A new key."""
        seed = Material.new_seed()
        return Material.made("BFV", seed, self._seal.secret(seed)[1]).to_bytes()

    def round_key(self, key: bytes, number: int) -> bytes:
        """The key itself: exact decryption shows nothing of it."""
        del number
        self._secret(key)
        return key

    def _expand(self, key: bytes) -> Any:
        material = Material.parse(key, "BFV", of_round=False)
        secret, expanded = self._seal.secret(material.seed)
        material.confirm(expanded)
        return secret

    def encrypt(self, key: bytes, points: Points) -> bytes:
        """The chunks of an upload."""
        encryptor = self._encryptor(key)
        public = self.form is Form.PUBLIC
        slots, degree = lanes.LANES * self._seal.degree, self._seal.degree
        body = np.zeros(-(-len(points) // slots), self._chunks.full if public else self._chunks.seeded)
        plain, full = sealapi.Plaintext(), sealapi.Ciphertext()
        for index in range(len(body)):
            words = lanes.pack(points[index * slots : (index + 1) * slots], degree)
            words += (words >> 63) & self._prime  # modulo t, where negative
            self._encoder.encode(words.tolist(), plain)
            if public:
                encryptor.encrypt(plain, full)
                self._chunks.write_full(full, body[index])
            else:
                self._chunks.write_seeded(encryptor.encrypt_symmetric(plain), body[index])
        return body.tobytes()

    def _encryptor(self, key: bytes) -> Any:
        secret = self._secret(key)
        if self.form is Form.SEEDED:
            return sealapi.Encryptor(self._seal.context, secret)
        public = sealapi.PublicKey()
        sealapi.KeyGenerator(self._seal.context, secret).create_public_key(public)
        return sealapi.Encryptor(self._seal.context, public)

    def total(self, chunks: int, half: "Half | None" = None) -> Total:
        """An empty sum, of uploads or of one half of them."""
        return Total(self._chunks, chunks, self.form, half)

    def decrypt(self, key: bytes, body: memoryview, count: int) -> Points:
        """The points of a total."""
        decryptor = sealapi.Decryptor(self._seal.context, self._secret(key))
        found = np.frombuffer(body, self._chunks.full)
        slots = lanes.LANES * self._seal.degree
        points = np.empty(count, np.int64)
        plain = sealapi.Plaintext()
        for index in range(len(found)):
            decryptor.decrypt(self._chunks.load(found[index]), plain)
            words = np.fromiter(self._encoder.decode_int64(plain), np.int64, self._seal.degree)
            part = points[index * slots : (index + 1) * slots]
            part[...] = lanes.unpack(words, len(part))
        return points

    def noise_budget(self, key: bytes, body: memoryview) -> int:
        """Bits of error that the worst chunk of a total has left before it decrypts wrongly (for tests and docs)."""
        decryptor = sealapi.Decryptor(self._seal.context, self._secret(key))
        found = np.frombuffer(body, self._chunks.full)
        return min(int(decryptor.invariant_noise_budget(self._chunks.load(chunk))) for chunk in found)
