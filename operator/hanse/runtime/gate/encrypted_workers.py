"""A gate's worker processes: one adds what strangers sent, others hold the key. Made by `encrypted_build`.

They stay warm between rounds: a worker takes a quarter of a second to start, a round may take less.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hanse.api.encryption import EncryptingScheme, Half
from hanse.runtime.he import Cipher, HeError, Summing


@dataclass(frozen=True)
class Workers:
    """How they are made."""

    cipher: Callable[[EncryptingScheme, bytes], Cipher] = Cipher
    summing: Callable[[EncryptingScheme, int, int], Summing] = Summing


class Adder:
    """Adds ciphertexts without any secret; the worker starts with the first sum."""

    def __init__(self, scheme: EncryptingScheme, most: int, summing: Callable[[EncryptingScheme, int, int], Summing]):
        self._scheme, self._most, self._new = scheme, most, summing
        self._summing: Summing | None = None
        self._count = 0

    def add(self, ciphertexts: Sequence[bytes | memoryview], count: int, half: Half) -> bytes:
        """The total of one half of ciphertexts of `count` points each. Raises HeError."""
        if self._summing is None or count != self._count:
            self.close()
            self._summing, self._count = self._new(self._scheme, count, self._most), count
        try:
            self._summing.reset(half)  # another one each round
            for one in ciphertexts:
                self._summing.add(one)
            total = self._summing.total()
            self._summing.reset()  # it holds the ciphertexts
        except HeError:
            self.close()
            raise
        return total

    def close(self) -> None:
        """End the worker."""
        if self._summing is not None:
            self._summing.close()
            self._summing = None
