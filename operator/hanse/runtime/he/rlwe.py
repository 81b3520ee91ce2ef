"""What BFV and CKKS have in common: ciphertexts (c0, c1) modulo small primes, and their sums. Called by both kernels.

Addition needs no key and no scheme: c0 and c1 are added coefficient by coefficient modulo each prime, which is why a
sum is the same bytes in every order and on every machine. A fresh symmetric ciphertext's c1 is uniform and comes from a
seed, so an upload is c0 and 64 bytes; its c0 is added here by numpy, and only the seed is given to SEAL, which expands
and adds the polynomials of the seeds (`uniforms.py`).
"""

from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.he import planes
from hanse.runtime.he.blob import Form
from hanse.runtime.he.errors import CiphertextInvalid
from hanse.runtime.he.seal import Seal
from hanse.runtime.he.uniforms import Uniforms


class Chunks:
    """The chunks of uploads and totals of one set of parameters."""

    def __init__(self, seal: Seal, bits: int) -> None:
        shape = (len(seal.primes), seal.degree)
        self.seal = seal
        self.bits: Final = bits
        self.primes: Final = np.array(seal.primes, np.uint64)[:, None]
        self.seeded: Final = planes.chunk_type(bits, shape, seeded=True)
        self.full: Final = planes.chunk_type(bits, (2, *shape), seeded=False)

    @cached_property
    def uniforms(self) -> Uniforms:
        """What seeds stand for; made when something is added."""
        uniforms = Uniforms(self.seal.parameters)
        if uniforms.primes != self.seal.primes:
            raise RuntimeError("SEAL chose other primes for CKKS")
        return uniforms

    def write_seeded(self, ciphertext: Any, chunk: NDArray[np.void]) -> None:
        """Put a fresh symmetric ciphertext into its chunk."""
        words, seed = self.seal.seeded(ciphertext)
        planes.write(words, self.bits, chunk)
        chunk["seed"][...] = np.frombuffer(seed, np.uint8)

    def write_full(self, ciphertext: Any, chunk: NDArray[np.void]) -> None:
        """Put a ciphertext of two polynomials into its chunk."""
        planes.write(self.seal.both(ciphertext), self.bits, chunk)

    def check(self, chunks: NDArray[np.void]) -> None:
        """Raises CiphertextInvalid for a coefficient that is not below its prime."""
        for chunk in chunks:
            if not planes.below(chunk, self.bits, self.seal.primes):
                raise CiphertextInvalid("a coefficient is not below its prime")

    def load(self, chunk: NDArray[np.void]) -> Any:
        """A total's chunk as SEAL's ciphertext, valid until the next. Raises CiphertextInvalid.

        SEAL compares every coefficient with its prime when it loads them.
        """
        try:
            return self.seal.load(planes.read(chunk, self.bits))
        except (RuntimeError, ValueError) as error:  # what pybind makes of SEAL's exceptions
            raise CiphertextInvalid("SEAL refuses this ciphertext") from error


class Total:
    """A sum in the making: per chunk c0 in numpy (as wide as 64 bits, reduced at the end), c1 in SEAL or numpy."""

    def __init__(self, chunks: Chunks, number: int, form: Form) -> None:
        self._chunks = chunks
        self._form = form
        primes, degree = len(chunks.seal.primes), chunks.seal.degree
        polynomials = 2 if form is Form.PUBLIC else 1
        self._sum = np.zeros((number, polynomials, primes, degree), np.uint64)
        self._seeds: list[Any] = []  # SEAL's ciphertexts (0, sum of a)

    def add(self, body: memoryview) -> None:
        """Add the chunks of one upload, all or none. Raises CiphertextInvalid."""
        kind = self._chunks.full if self._form is Form.PUBLIC else self._chunks.seeded
        found = np.frombuffer(body, kind)
        self._chunks.check(found)
        if self._form is Form.SEEDED:
            self._add_seeds(found["seed"])
        for total, chunk in zip(self._sum, found, strict=True):
            total += planes.read(chunk, self._chunks.bits).reshape(total.shape)

    def _add_seeds(self, seeds: NDArray[np.uint8]) -> None:
        uniforms = self._chunks.uniforms
        if not self._seeds:
            self._seeds = [uniforms.expand(seed.tobytes()) for seed in seeds]
            return
        for total, seed in zip(self._seeds, seeds, strict=True):
            uniforms.add(total, seed.tobytes())

    def body(self, first: int, last: int) -> bytes:
        """The chunks of the total from `first` to before `last`, every coefficient reduced modulo its prime."""
        added = self._sum[first:last]
        body = np.zeros(len(added), self._chunks.full)
        words = np.empty((2, *self._sum.shape[2:]), np.uint64)
        for index in range(len(body)):
            words[: added.shape[1]] = added[index] % self._chunks.primes
            if self._form is Form.SEEDED:
                words[1] = self._chunks.uniforms.words(self._seeds[first + index])
            planes.write(words, self._chunks.bits, body[index])
        return body.tobytes()
