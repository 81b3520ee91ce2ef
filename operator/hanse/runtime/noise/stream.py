"""Random bytes for one release: ChaCha20 under a key of its own; made by ReleaseNoise.

RFC 8439's cipher over zeros, with OpenSSL's 64-bit block counter. The key comes from the operating system when the
stream is made, is kept in no file and has no getter. A stream belongs to the process that made it: a child that
inherits it by fork would draw the same noise as its parent, and the difference of two releases would be noiseless.
"""

import os
from typing import Final, Protocol, Self

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray

from hanse.runtime.noise.errors import StreamReusedError

_KEY_BYTES: Final = 32
_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


class Stream(Protocol):
    """A source of uniform words; the tests inject their own."""

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next `count` uniform 64-bit words."""
        ...


class ChaChaStream:
    """ChaCha20 under one key, in one process."""

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()
        self._owner = _process()

    @classmethod
    def fresh(cls) -> Self:
        """A stream under a new key of the operating system."""
        return cls(os.urandom(_KEY_BYTES))

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next words, little-endian. Raises StreamReusedError in another process than the maker's."""
        if _process() != self._owner:
            raise StreamReusedError("a stream of noise does not survive a fork")
        return np.frombuffer(self._cipher.update(bytes(8 * count)), dtype="<u8")

    def __reduce__(self) -> str:
        raise StreamReusedError("a stream of noise is not copied")


def _process() -> tuple[int, int]:
    # Both: a child in another pid namespace can have its parent's number, and not every fork runs Python's hooks.
    return os.getpid(), _forks
