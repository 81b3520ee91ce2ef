"""No encryption: packed integers. For jobs that choose None in `hanse run`, for tests, and to compare with.

Three points of 19 bits in a word of 64, added as integers. The key is a key by form only.
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from hanse.runtime.he import lanes
from hanse.runtime.he.blob import Form
from hanse.runtime.he.engine import Points
from hanse.runtime.he.errors import CiphertextInvalid
from hanse.runtime.he.keys import Material

if TYPE_CHECKING:
    from hanse.api.encryption import Half

_WORD: Final = "<i8"


class Plain:
    """The kernel of None."""

    form: Final = Form.SEEDED

    def keygen(self) -> bytes:
        """A key by form only."""
        return Material.made("None", Material.new_seed(), b"").to_bytes()

    def round_key(self, key: bytes, number: int) -> bytes:
        """The key itself."""
        del number
        Material.parse(key, "None", of_round=False)
        return key

    def encrypt(self, key: bytes, points: Points) -> bytes:
        """The words."""
        Material.parse(key, "None", of_round=False)
        return lanes.pack(points, -(-len(points) // lanes.LANES)).astype(_WORD).tobytes()

    def total(self, chunks: int, half: "Half | None" = None) -> "PlainTotal":
        """An empty sum. The words are the bodies; there are no seeds, and nothing is hidden."""
        return PlainTotal(0 if half == "Seeds" else chunks)

    def decrypt(self, key: bytes, body: memoryview, count: int) -> Points:
        """The points of a total."""
        Material.parse(key, "None", of_round=False)
        return lanes.unpack(np.frombuffer(body, _WORD).astype(np.int64), count)


class PlainTotal:
    """A sum of words."""

    def __init__(self, words: int) -> None:
        self._sum = np.zeros(words, np.int64)

    def add(self, body: memoryview) -> None:
        """Add the words of one upload. Raises CiphertextInvalid."""
        words = np.frombuffer(body, _WORD)
        if (words > lanes.WORD_LIMIT).any() or (words < -lanes.WORD_LIMIT).any():
            raise CiphertextInvalid("a word is larger than three lanes hold")
        self._sum += words

    def body(self, first: int, last: int) -> bytes:
        """The words of the total from `first` to before `last`."""
        return self._sum[first:last].astype(_WORD).tobytes()
