"""What BFV and CKKS have in common: ciphertexts (c0, c1) modulo small primes, and their sums. Called by both kernels.

Addition needs no key and no scheme: c0 and c1 are added coefficient by coefficient modulo each prime, which is why a
sum is the same bytes in every order and on every machine. A fresh symmetric ciphertext's c1 is uniform and comes from a
seed, so an upload is c0 and 64 bytes; its c0 is added here by numpy, and only the seed is given to SEAL, which expands
and adds the polynomials of the seeds (`uniforms.py`).

**Half a ciphertext says nothing, also to who holds the key s** (`halves.py`). c0 = m - c1 s + e up to scaling, and c1 s
is uniform where s has no zero among its values modulo a prime (8,192 values of about 2^40: some key has one with
probability 2^-27, and then that one value of a chunk is not masked): without the seed of 512 bits c0 is what a one-time
pad gives. The seed is drawn by the operating system, without m.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.he import planes
from hanse.runtime.he.blob import Form
from hanse.runtime.he.errors import CiphertextInvalid
from hanse.runtime.he.seal import Seal
from hanse.runtime.he.uniforms import Uniforms

if TYPE_CHECKING:
    from hanse.api.encryption import Half


class Chunks:
    """The chunks of uploads and totals of one set of parameters."""

    def __init__(self, seal: Seal, bits: int) -> None:
        self.seal = seal
        self.bits: Final = bits
        self.primes: Final = np.array(seal.primes, np.uint64)[:, None]
        self.seeded: Final = planes.chunk_type(bits, self._shape, seeded=True)
        self.full: Final = self.polynomials(2)

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.seal.primes), self.seal.degree

    def polynomials(self, number: int) -> np.dtype[np.void]:
        """The layout of a chunk of so many polynomials."""
        return planes.chunk_type(self.bits, (number, *self._shape), seeded=False)

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
    """A sum in the making: per chunk c0 in numpy (as wide as 64 bits, reduced at the end), c1 in SEAL or numpy.

    With `half` of halves of uploads: of c0 alone, or of seeds alone.
    """

    def __init__(self, chunks: Chunks, number: int, form: Form, half: "Half | None" = None) -> None:
        self._chunks = chunks
        self._seeded = form is Form.SEEDED and half != "Bodies"
        polynomials = {None: 2 if form is Form.PUBLIC else 1, "Bodies": 1, "Seeds": 0}[half]
        self._added = chunks.seeded if self._seeded else chunks.polynomials(polynomials)
        self._sum = np.zeros((number, polynomials, len(chunks.seal.primes), chunks.seal.degree), np.uint64)
        self._seeds: list[Any] = []  # SEAL's ciphertexts (0, sum of a)

    def add(self, body: memoryview) -> None:
        """Add the chunks of one upload, all or none. Raises CiphertextInvalid."""
        if not self._sum.shape[1]:
            self._add_seeds(np.frombuffer(body, np.uint8).reshape(-1, planes.SEED_BYTES))
            return
        found = np.frombuffer(body, self._added)
        self._chunks.check(found)
        if self._seeded:
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
        words = np.empty((added.shape[1] + self._seeded, *added.shape[2:]), np.uint64)
        body = np.zeros(len(added), self._chunks.polynomials(len(words)))
        for index in range(len(body)):
            words[: added.shape[1]] = added[index] % self._chunks.primes
            if self._seeded:
                words[-1] = self._chunks.uniforms.words(self._seeds[first + index])
            planes.write(words, self._chunks.bits, body[index])
        return body.tobytes()
