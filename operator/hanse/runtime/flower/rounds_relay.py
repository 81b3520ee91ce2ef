"""Between the protocol's messages (`hanse.runtime.agreement`) and the fleet's questions and answers.

Used by the rooms of the encrypted round loop. The server relays: it reads statements, and bytes it cannot read.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

from hanse.api.conditions import Reason
from hanse.api.encryption import EncryptionPlan
from hanse.api.replies import REASONS, ReplyCode
from hanse.api.runconfig import RunConfig
from hanse.runtime.aggregation import Arrays
from hanse.runtime.agreement import messages
from hanse.runtime.agreement.roster import Roster
from hanse.runtime.flower.rounds_fleet import Answer, Clock, Config, EachFleet, Question, Seen
from hanse.runtime.flower.rounds_gather import Gathering
from hanse.runtime.flower.rounds_report import Reporter
from hanse.runtime.refused import Refused

M = TypeVar("M", bound=messages.Message)
Checked = Callable[[M, str], None]

#: What a gate may answer otherwise when it is asked again: it comes back, or gets what it lacks.
PASSING: Final = frozenset(
    {
        Reason.ROUND_TIMEOUT,
        Reason.NOT_CONNECTED,
        Reason.GATE_RESTARTED,
        Reason.TRAINER_DIED,
        Reason.DRAINED,
        Reason.GATE_FAILED,
        Reason.OUT_OF_MEMORY,
        Reason.KEY_NOT_HELD,
        Reason.STATE_MISSING,
        Reason.LEASE_LOST,
        Reason.LEDGER_UNAVAILABLE,
    }
)


@dataclass(frozen=True)
class Relay:
    """All that the rooms of the loop share: who there is, how to ask, how to tell."""

    config: RunConfig
    plan: EncryptionPlan
    roster: Roster
    fleet: EachFleet
    clock: Clock
    reporter: Reporter
    gathering: Gathering

    @property
    def patience(self) -> float:
        """How long a round waits for its replies."""
        return float(self.config.round_timeout_seconds)

    def name(self, index: int) -> str:
        """Name of a participant."""
        return self.gathering.names([index])[0]

    def index(self, name: str) -> int:
        """Index of a participant. Raises StopIteration for a stranger: the roster has been asked before."""
        return next(p.index for p in self.config.participants if p.name == name)

    def indices(self, names: Iterable[str]) -> frozenset[int]:
        """Indices of participants."""
        wanted = set(names)
        return frozenset(p.index for p in self.config.participants if p.name in wanted)

    def ask(self, questions: Mapping[int, Question], seen: Seen | None = None) -> dict[int, Answer]:
        """Ask each; note who was heard."""
        answers = self.fleet.ask_each(questions, self.patience, seen)
        away = (Reason.ROUND_TIMEOUT, Reason.NOT_CONNECTED)
        self.reporter.heard(i for i, a in answers.items() if a.failure not in away)
        return answers

    def exchange(
        self, questions: Mapping[int, Question], model: type[M], check: Checked[M]
    ) -> tuple[dict[int, M], dict[int, Reason]]:
        """Ask each and sort the replies: those that pass `check(reply, name)`, and why others do not.

        Reasons stand in the progress until the participant does better.
        """
        replies: dict[int, M] = {}
        failures: dict[int, Reason] = {}
        for index, answer in self.ask(questions).items():
            found = self.read(index, answer, model, check)
            if isinstance(found, Reason):
                failures[index] = found
            else:
                replies[index] = found
        self.note(failures, replies)
        return replies, failures

    def read(self, index: int, answer: Answer, model: type[M], check: Checked[M]) -> M | Reason:
        """One reply, checked, or why it does not count."""
        if answer.failure is not None:
            return answer.failure
        try:
            reply = messages.read(model, answer.records.get(messages.RECORD, {}).get(messages.TEXT), len(self.roster))
            check(reply, self.name(index))
        except Refused as refused:
            return REASONS[refused.code]
        return reply

    def note(self, failures: Mapping[int, Reason], good: Iterable[int]) -> None:
        """Keep the newest reason of each participant for the progress."""
        for index in good:
            self.reporter.reasons.pop(index, None)
        self.reporter.reasons.update({i: str(r) for i, r in failures.items()})


def question(
    kind: str,
    number: int,
    message: messages.Message,
    *,
    record: str = "",
    arrays: Mapping[str, bytes | np.ndarray[Any, Any]] | None = None,
    configs: Mapping[str, Config] | None = None,
) -> Question:
    """A message of the protocol as the fleet's question; `arrays` are bytes by name in the record of that name."""
    text: Config = {messages.TEXT: message.to_text()}
    packed: Arrays | None = None
    if arrays is not None:
        packed = {name: np.frombuffer(data, np.uint8) for name, data in arrays.items()}
    return Question(kind, number, packed, {messages.RECORD: text, **(configs or {})}, record)


def bytes_of(answer: Answer, name: str) -> np.ndarray[Any, Any] | None:
    """The one array of bytes of an answer; None when that is not what it holds."""
    arrays = answer.arrays or {}
    array = arrays.get(name)
    if array is None or len(arrays) != 1 or array.dtype != np.uint8 or array.ndim != 1 or not array.size:
        return None
    return array


def signed_by(name: str, signer: str) -> None:
    """A gate speaks for itself alone. Raises Refused."""
    if name != signer:
        raise Refused(ReplyCode.SIGNATURE_INVALID, f"{name} sends a statement of {signer}")
