"""An engine out of a kernel: checks, headers, and the loop over ciphertexts. Called by `engine_of` and the workers.

A kernel knows the arithmetic of one scheme and sees neither headers nor numbers out of range.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hanse.runtime.he.blob import HEADER_BYTES, TOTAL_HALF, UPLOAD_HALF, Form, Header, split
from hanse.runtime.he.engine import Facts, Points
from hanse.runtime.he.errors import CountMismatch, PointOutOfRange, TooManyCiphertexts

if TYPE_CHECKING:
    from hanse.api.encryption import Half


class KernelTotal(Protocol):
    """A sum in the making."""

    def add(self, body: memoryview) -> None: ...
    def body(self, first: int, last: int) -> bytes: ...


class Kernel(Protocol):
    """The arithmetic of a scheme, on chunks without header."""

    @property
    def form(self) -> Form: ...
    def keygen(self) -> bytes: ...
    def round_key(self, key: bytes, number: int) -> bytes: ...
    def encrypt(self, key: bytes, points: Points) -> bytes: ...
    def total(self, chunks: int, half: "Half | None" = None) -> KernelTotal: ...
    def decrypt(self, key: bytes, body: memoryview, count: int) -> Points: ...


class Totalling:
    """A sum of uploads, or of one half of them, as they come.

    Raises as `Engine.add` does, and is as before when it refuses one.
    """

    def __init__(self, kernel: Kernel, facts: Facts, count: int, most: int = 0, half: "Half | None" = None) -> None:
        check_count(count)
        self._facts = facts
        self._half = half
        self._expected = Header(facts.scheme, UPLOAD_HALF[half] if half else kernel.form, 1, count)
        self._most = min(most or facts.most_clients, facts.most_clients)
        self._sum = kernel.total(facts.chunks(count), half)
        self.summands = 0

    def add(self, ciphertext: bytes | memoryview) -> None:
        """Add one upload."""
        if self.summands >= self._most:
            raise TooManyCiphertexts(f"more than {self._most} ciphertexts")
        body_bytes = self._facts.max_ciphertext_bytes(self._expected.count, self._half) - HEADER_BYTES
        _, body = split(ciphertext, self._expected, body_bytes)
        self._sum.add(body)
        self.summands += 1

    def part(self, first: int, last: int) -> bytes:
        """The canonical total's chunks from `first` to before `last`."""
        if not self.summands:
            raise TooManyCiphertexts("a total of no ciphertexts")
        return self._sum.body(first, last)

    def total(self) -> bytes:
        """The canonical total."""
        count = self._expected.count
        body = self.part(0, self._facts.chunks(count))
        return bytes(total_header(self._facts, count, self.summands, self._half)) + body


class FramedEngine:
    """`Engine` over a kernel; not safe for threads."""

    def __init__(self, facts: Facts, kernel: Kernel) -> None:
        self._facts = facts
        self.kernel = kernel

    @property
    def facts(self) -> Facts:
        """What this engine can do and costs."""
        return self._facts

    def keygen(self) -> bytes:
        """As `Engine.keygen`."""
        return self.kernel.keygen()

    def round_key(self, key: bytes, round: int) -> bytes:
        """As `Engine.round_key`."""
        return self.kernel.round_key(key, round)

    def encrypt(self, key: bytes, points: Points) -> bytes:
        """As `Engine.encrypt`."""
        check_points(points, self._facts)
        header = Header(self._facts.scheme, self.kernel.form, 1, len(points))
        return bytes(header) + self.kernel.encrypt(key, points)

    def totalling(self, count: int, most: int = 0, half: "Half | None" = None) -> Totalling:
        """An empty sum of ciphertexts of `count` points, or of one half of them."""
        return Totalling(self.kernel, self._facts, count, most, half)

    def add(self, ciphertexts: Iterable[bytes | memoryview], count: int, half: "Half | None" = None) -> bytes:
        """As `Engine.add`; with `half` the total of such halves."""
        sum_ = self.totalling(count, half=half)
        for ciphertext in ciphertexts:
            sum_.add(ciphertext)
        return sum_.total()

    def decrypt(self, key: bytes, total: bytes | memoryview, count: int) -> Points:
        """As `Engine.decrypt`."""
        return self.kernel.decrypt(key, total_body(total, self._facts, count)[1], count)


def total_header(facts: Facts, count: int, summands: int, half: "Half | None" = None) -> Header:
    """What a total begins with, or half of one."""
    return Header(facts.scheme, TOTAL_HALF[half] if half else Form.TOTAL, summands, count)


def total_body(total: bytes | memoryview, facts: Facts, count: int) -> tuple[int, memoryview]:
    """Summands and chunks of a total. Raises CiphertextInvalid."""
    check_count(count)
    expected = total_header(facts, count, facts.most_clients)
    return split(total, expected, facts.max_total_bytes(count) - HEADER_BYTES)


def check_count(count: int) -> None:
    """Raises CountMismatch for no points at all."""
    if count < 1:
        raise CountMismatch(f"a ciphertext of {count} points")


def check_points(points: Points, facts: Facts) -> None:
    """Raises CountMismatch and PointOutOfRange for what no lane holds, and TypeError for what are no int64."""
    if points.dtype != np.int64 or points.ndim != 1:
        raise TypeError(f"points are int64 of one dimension, not {points.dtype} of shape {points.shape}")
    check_count(len(points))
    largest = max(int(points.max()), -int(points.min()))
    if largest > facts.lane_limit:
        raise PointOutOfRange(f"a point of magnitude {largest} in a lane of {facts.lane_limit}")
