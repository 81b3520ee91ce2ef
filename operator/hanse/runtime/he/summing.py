"""Adding ciphertexts that strangers sent, in one worker process without secrets; used by the server and by gates."""

from types import TracebackType
from typing import Self

from hanse.api.encryption import Scheme


class Summing:
    """One total in the making. A context manager; not safe for threads."""

    def __init__(self, scheme: Scheme, count: int, most: int = 0) -> None:
        """A sum of ciphertexts of `count` points each, at most `most` of them (0: as many as the engine can)."""
        raise NotImplementedError

    def add(self, ciphertext: bytes) -> None:
        """Add one ciphertext; the total is as before when it is refused. Raises CiphertextInvalid, TooManyCiphertexts.

        After a crash of the worker (CiphertextInvalid too) everything that was added is added again by a new one.
        """
        raise NotImplementedError

    def total(self) -> bytes:
        """The canonical total of what was added. Raises TooManyCiphertexts when nothing was."""
        raise NotImplementedError

    def close(self) -> None:
        """End the worker."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
