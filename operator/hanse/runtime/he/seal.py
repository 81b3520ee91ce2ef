"""The door to SEAL 4.3 through `tenseal.sealapi`: contexts, keys from seeds, and reading what SEAL wrote.

Called by the kernels, `rlwe.py` and `uniforms.py`. sealapi reads and writes files only, always compressed with zstd
when it writes. So an object goes through a file in memory, and what SEAL wrote is unpacked here. Of what strangers
wrote SEAL sees the 64 bytes of a seed (`uniforms.py`, when adding) and numbers of 40 or 56 bits (`Seal.load`, when
decrypting); zstd sees nothing.
"""

import os
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import tenseal.sealapi as sealapi
import zstandard

from hanse.runtime.he.planes import SEED_BYTES, Words

_SEAL_HEADER: Final = struct.Struct("<HBBBBHQ")  # magic, header size, major, minor, compression, reserved, size
_MAGIC: Final = 0xA15E
_SCALE_AT: Final = 32 + 1 + 3 * 8
_FIELDS: Final = 32 + 1 + 5 * 8  # parms id, NTT form, size, degree, primes, scale, correction factor
_PREFIX: Final = _FIELDS + _SEAL_HEADER.size + 8  # then the header and length of the array of coefficients
_TRAILER: Final = _SEAL_HEADER.size + 1  # of the seed: header, type of generator


@dataclass(frozen=True)
class Parameters:
    """Of a scheme. 128-bit classical hardness is enforced by SEAL (HomomorphicEncryption.org's table of 2018)."""

    scheme: str
    degree: int
    moduli: tuple[int, ...]  # bits of the coefficient primes; with more than one, the last one is for keys only
    plain: int = 0  # bits of BFV's plain prime
    scale: float = 1.0  # of CKKS's values

    def to_seal(self, seed: bytes | None = None) -> Any:
        """SEAL's parameters; with a seed all that a context draws is drawn from it."""
        parameters = sealapi.EncryptionParameters(getattr(sealapi.SCHEME_TYPE, self.scheme))
        parameters.set_poly_modulus_degree(self.degree)
        parameters.set_coeff_modulus(sealapi.CoeffModulus.Create(self.degree, list(self.moduli)))
        if self.plain:
            parameters.set_plain_modulus(sealapi.PlainModulus.Batching(self.degree, self.plain))
        if seed is not None:
            parameters.set_random_generator(sealapi.Blake2xbPRNGFactory(list(struct.unpack("<8Q", seed))))
        return parameters

    def context(self, seed: bytes | None = None) -> Any:
        """SEAL's context; 25 ms of CPU for BFV."""
        return sealapi.SEALContext(self.to_seal(seed), True, sealapi.SEC_LEVEL_TYPE.TC128)


def with_header(raw: bytes) -> bytes:
    """What SEAL reads: its outer header says that nothing is compressed."""
    return _SEAL_HEADER.pack(_MAGIC, _SEAL_HEADER.size, 4, 3, 0, 0, _SEAL_HEADER.size + len(raw)) + raw


class Scratch:
    """A file in memory, because sealapi's objects are saved to and loaded from paths only."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("hanse-he", os.MFD_CLOEXEC)
        self.path = f"/proc/self/fd/{self._fd}"

    def put(self, content: bytes | memoryview) -> str:
        """Hold `content`; the path to load it from."""
        os.pwrite(self._fd, content, 0)
        os.ftruncate(self._fd, len(content))
        return self.path

    def patch(self, content: bytes, at: int) -> str:
        """Change some bytes of what is held; the path to load it from."""
        os.pwrite(self._fd, content, at)
        return self.path

    def content(self) -> bytes:
        """What was written to `path`."""
        return os.pread(self._fd, os.fstat(self._fd).st_size, 0)

    def __del__(self) -> None:
        os.close(self._fd)


class Seal:
    """One set of parameters. Not safe for threads; its scratch file holds what passed through last."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.context = parameters.context()
        self.primes = self._primes()
        self.degree = parameters.degree
        self._scratch = Scratch()
        self._zstd = zstandard.ZstdDecompressor()
        self._loaded = sealapi.Ciphertext()

    def _primes(self) -> tuple[int, ...]:
        found = self.context.first_context_data().parms().coeff_modulus()
        return tuple(prime.value() for prime in found)

    # --- keys ---

    def secret(self, seed: bytes) -> tuple[Any, bytes]:
        """The secret key that a seed of 64 bytes expands to, and its bytes."""
        key = sealapi.KeyGenerator(self.parameters.context(seed)).secret_key()
        expanded = self.saved(key)
        self._scratch.put(b"")
        return key, expanded

    # --- SEAL's bytes ---

    def saved(self, thing: Any) -> bytes:
        """What SEAL writes of a thing, without its outer header and compression."""
        thing.save(self._scratch.path)
        content = self._scratch.content()
        return self._zstd.decompressobj().decompress(memoryview(content)[_SEAL_HEADER.size :])

    def seeded(self, ciphertext: Any) -> tuple[Words, bytes]:
        """First polynomial, shape (primes, degree), and seed of the second one, of a symmetric encryption."""
        raw = self.saved(ciphertext)
        _, prefix, trailer = self._templates
        end = _PREFIX + 8 * self.words
        if not raw.startswith(prefix) or raw[end : end + _TRAILER] != trailer:
            raise RuntimeError("SEAL wrote a seeded ciphertext of other parameters")
        return self._array(raw[_PREFIX:end], 1)[0], raw[end + _TRAILER :]

    def both(self, ciphertext: Any) -> Words:
        """The coefficients of a ciphertext in memory, shape (2, primes, degree)."""
        raw = self.saved(ciphertext)
        if not raw.startswith(self._templates[0]):
            raise RuntimeError("SEAL wrote a ciphertext of other parameters")
        return self._array(raw[_PREFIX:], 2)

    def load(self, words: Words) -> Any:
        """A ciphertext of coefficients of shape (2, primes, degree), valid until the next.

        Raises ValueError and RuntimeError for a coefficient that is not below its prime.
        """
        return self.loaded(self._loaded, self._templates[0] + words.tobytes())

    def without_coefficients(self) -> bytes:
        """A seeded ciphertext (0, a), but for the 64 bytes of its seed at the end."""
        _, prefix, trailer = self._templates
        return prefix + bytes(8 * self.words) + trailer

    def _array(self, data: bytes, polynomials: int) -> Words:
        return np.frombuffer(data, "<u8").reshape(polynomials, len(self.primes), self.degree)

    def loaded(self, thing: Any, raw: bytes) -> Any:
        """`thing`, filled from what `saved` gives. Raises ValueError and RuntimeError."""
        thing.load(self.context, self._scratch.put(with_header(raw)))
        return thing

    @cached_property
    def _templates(self) -> tuple[bytes, bytes, bytes]:
        """What stands before the coefficients of a full and of a seeded ciphertext, and before the seed."""
        encryptor = sealapi.Encryptor(self.context, sealapi.KeyGenerator(self.context).secret_key())
        full = sealapi.Ciphertext()
        encryptor.encrypt_zero_symmetric(full)
        raw_full = self.saved(full)
        raw_seeded = self.saved(encryptor.encrypt_zero_symmetric())
        data = 8 * self.words
        if len(raw_full) != _PREFIX + 2 * data or len(raw_seeded) != _PREFIX + data + _TRAILER + SEED_BYTES:
            raise RuntimeError("SEAL writes ciphertexts in another layout than 4.3 did")
        return self._scaled(raw_full), self._scaled(raw_seeded), raw_seeded[_PREFIX + data :][:_TRAILER]

    def _scaled(self, raw: bytes) -> bytes:
        """An encryption of zero has scale 1; ours have another."""
        return raw[:_SCALE_AT] + struct.pack("<d", self.parameters.scale) + raw[_SCALE_AT + 8 : _PREFIX]

    @property
    def words(self) -> int:
        """Coefficients of one polynomial, over all primes."""
        return len(self.primes) * self.degree
