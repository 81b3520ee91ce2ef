"""How often the gate asks the server for a message. Used by hanse.runtime.gate.loop.

Flower's fleet API has no way to wait for a message, so the gate polls: quickly while a run is active, because every
poll's interval is latency of a round, and slowly when nothing has come for a while, because ten gates share two cores.
"""

import time
from collections.abc import Callable
from typing import Final

#: Right after an exchange the next message is near: a round is train and evaluate.
EAGER_SECONDS: Final = 0.02
EAGER_FOR: Final = 1.0
ACTIVE_SECONDS: Final = 0.05
ACTIVE_FOR: Final = 30.0
IDLE_SECONDS: Final = 1.0
#: From active to idle the interval grows by this share of the quiet time.
GROWTH: Final = 0.05


class Pace:
    """The interval until the next poll."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def touch(self) -> None:
        """Something came: be quick again."""
        self._last = self._clock()

    def delay(self) -> float:
        """Seconds until the next poll."""
        quiet = self._clock() - self._last
        if quiet < EAGER_FOR:
            return EAGER_SECONDS
        if quiet < ACTIVE_FOR:
            return ACTIVE_SECONDS
        return min(IDLE_SECONDS, ACTIVE_SECONDS + GROWTH * (quiet - ACTIVE_FOR))
