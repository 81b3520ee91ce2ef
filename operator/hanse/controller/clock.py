"""The clock that everything below `main` is handed, so that tests own the time."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for status, monotonic time for waiting."""

    def now(self) -> datetime:
        """The time, in UTC, in whole seconds as Kubernetes stores it."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0)

    def monotonic(self) -> float:
        return time.monotonic()
