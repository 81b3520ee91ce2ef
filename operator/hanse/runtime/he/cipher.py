"""Encryption and decryption in worker processes (TenSEAL never releases the GIL); used by the gate."""

from types import TracebackType
from typing import Self

from hanse.api.encryption import Scheme
from hanse.runtime.he.engine import Points


class Cipher:
    """A job's key in worker processes that stay warm between rounds. A context manager; safe for threads."""

    def __init__(self, scheme: Scheme, key: bytes, processes: int | None = None) -> None:
        """Workers start with the first call; `processes` defaults to the CPUs of this process.

        Raises KeyInvalid.
        """
        raise NotImplementedError

    def encrypt(self, round: int, points: Points) -> bytes:
        """As `Engine.encrypt` under the round's key. Raises PointOutOfRange, WorkerLost."""
        raise NotImplementedError

    def decrypt(self, round: int, total: bytes, count: int) -> Points:
        """As `Engine.decrypt` under the round's key. Raises CiphertextInvalid, DecryptionImplausible, WorkerLost."""
        raise NotImplementedError

    def close(self) -> None:
        """End the workers."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
