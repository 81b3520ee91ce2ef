"""Streams of bits that the tests of noise inject."""

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.noise import ChaChaStream


class Words:
    """Serves given words, and remembers how many were asked for."""

    def __init__(self, *words: int) -> None:
        self._words = list(words)

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next ones; IndexError when too few are left."""
        if count > len(self._words):
            raise IndexError(f"{count} words asked, {len(self._words)} left")
        taken, self._words = self._words[:count], self._words[count:]
        return np.array(taken, np.uint64)


def fixed(name: str) -> ChaChaStream:
    """The same ChaCha20 stream on every run, for statistical tests that must not flake."""
    return ChaChaStream(name.encode().ljust(32, b"."))
