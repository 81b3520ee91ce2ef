"""The uniform polynomials that seeds stand for, and their sums. Called by `rlwe.py`, needs no secret.

A symmetric ciphertext's c1 is drawn by SEAL from 64 bytes, so that only SEAL can draw it again. A context of CKKS with
the same primes does so for both schemes: there a ciphertext (0, a) "decrypts" under the key 1 to 0 + a * 1, all its
coefficients as they are. That reads a sum in half the time that saving the whole ciphertext takes.
"""

from typing import Any

import numpy as np
import tenseal.sealapi as sealapi

from hanse.runtime.he.planes import SEED_BYTES, Words
from hanse.runtime.he.seal import Parameters, Scratch, Seal, with_header


class Uniforms:
    """Polynomials modulo the primes of `parameters`; not safe for threads."""

    def __init__(self, parameters: Parameters) -> None:
        self._seal = Seal(Parameters("CKKS", parameters.degree, parameters.moduli))
        self.primes = self._seal.primes
        self._evaluator = sealapi.Evaluator(self._seal.context)
        self._decryptor = sealapi.Decryptor(self._seal.context, self._one())
        self._plain = sealapi.Plaintext()
        self._next = sealapi.Ciphertext()
        held = with_header(self._seal.without_coefficients() + bytes(SEED_BYTES))
        self._scratch = Scratch()
        self._scratch.put(held)
        self._seed_at = len(held) - SEED_BYTES

    def _one(self) -> Any:
        raw = self._seal.saved(sealapi.KeyGenerator(self._seal.context).secret_key())
        ones = np.ones(len(self._seal.parameters.moduli) * self._seal.degree, "<u8").tobytes()
        return self._seal.loaded(sealapi.SecretKey(), raw[: -len(ones)] + ones)

    def expand(self, seed: bytes) -> Any:
        """The polynomial of a seed of 64 bytes."""
        ciphertext = sealapi.Ciphertext()
        ciphertext.load(self._seal.context, self._scratch.patch(seed, self._seed_at))
        return ciphertext

    def add(self, total: Any, seed: bytes) -> None:
        """Add the polynomial of a seed to `total`, in place."""
        self._next.load(self._seal.context, self._scratch.patch(seed, self._seed_at))
        self._evaluator.add_inplace(total, self._next)

    def words(self, polynomial: Any) -> Words:
        """Its coefficients, shape (primes, degree), each below its prime."""
        self._decryptor.decrypt(polynomial, self._plain)
        raw = self._seal.saved(self._plain)
        return np.frombuffer(raw[-8 * self._seal.words :], "<u8").reshape(len(self.primes), self._seal.degree)
