"""What the round loop needs from the outside, without a word of Flower: the fleet of participants and a clock.

`server_app.GridFleet` is the real fleet; the tests have one in memory, held to the same contract.

RunFailedError      the run is over for good; carries the exit code and a message for a person
DrainedError        the pod was told to stop: go, the checkpoint is on disk
"""

import datetime
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.runtime.aggregation import Arrays

TRAIN: Final = "train"
EVALUATE: Final = "evaluate"
INITIAL: Final = "query.initial"
STATISTICS: Final = "query.statistics"
END: Final = "query.hanse_end"

Config = dict[str, Any]


class RunFailedError(Exception):
    """The run is over for good."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class DrainedError(BaseException):
    """The pod was told to stop. Not an Exception: no app's `except Exception` may swallow it."""


@dataclass(frozen=True)
class Question:
    """One message to several participants; the records are those of the message contract."""

    kind: str
    number: int
    arrays: Arrays | None = None
    configs: Mapping[str, Config] = field(default_factory=dict)
    #: Name of the record that holds `arrays`.
    record: str = "arrays"


@dataclass(frozen=True)
class Answer:
    """A participant's reply, or why there is none."""

    arrays: Arrays | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    failure: Reason | None = None


#: Is called with each answer when it comes.
Seen = Callable[[int, Answer], None]


class Fleet(Protocol):
    """The participants of the job, by index."""

    def connected(self) -> frozenset[int]:
        """Who is connected now."""
        ...

    def ask(self, question: Question, to: Sequence[int], timeout: float) -> dict[int, Answer]:
        """Send to all of `to` and collect until all have answered or `timeout` has passed.

        Has an answer for each of `to`: RoundTimeout for the silent, NotConnected for who went away.
        """
        ...


class EachFleet(Fleet, Protocol):
    """A fleet whose participants can be asked different things at once."""

    def ask_each(
        self, questions: Mapping[int, Question], timeout: float, seen: Seen | None = None
    ) -> dict[int, Answer]:
        """Send to each its own question, all at once, and collect as `ask` does.

        `seen` gets the answers that come, one by one and in this thread; not those that do not come.
        """
        ...


class Clock(Protocol):
    """Time, as the round loop sees it."""

    def now(self) -> datetime.datetime: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None:
        """Let time pass. Raises DrainedError when the pod was told to stop."""
        ...


@dataclass
class SystemClock:
    """The real clock; `stop` is set by SIGTERM."""

    stop: threading.Event = field(default_factory=threading.Event)

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep in steps: the main thread runs its signal handlers between them."""
        end = time.monotonic() + seconds
        while not self.stop.is_set():
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.1))
        raise DrainedError
