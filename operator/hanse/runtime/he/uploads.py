"""The server's sum of uploads: bodies as they come, seeds when the list is decided. Called by the encrypted round loop.

A body is checked and added in a fraction of the time that its seed takes to expand, and a seed needs no check: any 64
bytes are one. So an upload costs its body when it comes, and the expensive part can run while verifiers, on machines of
their own, expand the same seeds. The sum of the halves is the sum (`halves.py`), byte for byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.runtime.he.errors import CiphertextInvalid, TooManyCiphertexts, WorkerLost
from hanse.runtime.he.halves import Halves, join_total

if TYPE_CHECKING:
    from hanse.api.encryption import Scheme
    from hanse.runtime.he.summing import Summing


class UploadSum:
    """One total in the making. Not safe for threads, but `total` may be called in another one than `add`."""

    def __init__(self, scheme: Scheme, count: int, summing: Summing) -> None:
        """Adds in the process of `summing`, which was made for this scheme and `count` points. Raises WorkerLost."""
        self._scheme, self._count, self._summing = scheme, count, summing
        self.reset()

    def add(self, upload: Halves) -> None:
        """Add the halves of one upload; the total is as before when they are refused. Raises as `Summing.add`."""
        self._summing.add(upload["Bodies"])
        self._seeds.append(upload["Seeds"])

    def total(self) -> bytes:
        """The canonical total of what was added, once: then `reset` or `close`.

        Raises TooManyCiphertexts when nothing was added, and WorkerLost.
        """
        bodies = self._summing.total()
        self._summing.reset("Seeds")
        try:
            for seeds in self._seeds:
                self._summing.add(seeds)
        except (CiphertextInvalid, TooManyCiphertexts) as error:
            # Their size is right and there are as many as bodies, so no upload is to blame.
            raise WorkerLost("the process that adds ciphertexts died of their seeds") from error
        return join_total(self._scheme, {"Bodies": bodies, "Seeds": self._summing.total()}, self._count)

    def reset(self) -> None:
        """Forget what was added and begin a new total. Raises WorkerLost."""
        self._seeds: list[bytes] = []
        self._summing.reset("Bodies")

    def close(self) -> None:
        """End the worker."""
        self._seeds = []
        self._summing.close()
