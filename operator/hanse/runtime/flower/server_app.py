"""The platform's ServerApp over Flower: the fleet of the round loop as messages through the grid.

Called by the aggregator. Record names are those of the message contract (Flower's own standard names).
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode

from hanse.api.conditions import Reason
from hanse.api.replies import reason_for
from hanse.api.runconfig import ServerParticipant
from hanse.runtime.aggregation import Arrays
from hanse.runtime.flower.control import normal_key
from hanse.runtime.flower.grid import HanseGrid
from hanse.runtime.flower.rounds_fleet import END, Answer, Question, Seen

#: Flower's own error codes; all others are the gate's (hanse.api.replies).
_FLOWER_REASONS: Final = {
    ErrorCode.MESSAGE_UNAVAILABLE: Reason.ROUND_TIMEOUT,
    ErrorCode.REPLY_MESSAGE_UNAVAILABLE: Reason.ROUND_TIMEOUT,
    ErrorCode.NODE_UNAVAILABLE: Reason.NOT_CONNECTED,
}
_END_POLL_SECONDS: Final = 0.25


class GridFleet:
    """The participants, reached through Flower's messages; see `rounds_fleet.Fleet`."""

    def __init__(self, grid: HanseGrid, participants: Sequence[ServerParticipant]) -> None:
        self._grid = grid
        self._index_of_key = {normal_key(p.public_key): p.index for p in participants}
        self._node_of: dict[int, int] = {}
        self._index_of_node: dict[int, int] = {}

    def connected(self) -> frozenset[int]:
        """Who is online at the SuperLink, by index; the public key tells who a node is."""
        self._node_of = {
            self._index_of_key[bytes(node.public_key)]: node.node_id
            for node in self._grid.get_nodes()
            if bytes(node.public_key) in self._index_of_key
        }
        self._index_of_node.update((node, index) for index, node in self._node_of.items())
        return frozenset(self._node_of)

    def index_of(self, node_id: int) -> int | None:
        """Which participant a node is, also one that has left; None for one that was never connected."""
        if node_id not in self._index_of_node:
            self.connected()
        return self._index_of_node.get(node_id)

    def ask(self, question: Question, to: Sequence[int], timeout: float) -> dict[int, Answer]:
        """Send one message to each and collect the replies."""
        return self.ask_each(dict.fromkeys(to, question), timeout)

    def ask_each(
        self, questions: Mapping[int, Question], timeout: float, seen: Seen | None = None
    ) -> dict[int, Answer]:
        """Send to each its own message and collect the replies; see `rounds_fleet.EachFleet`."""
        if not questions.keys() <= set(self._node_of):
            self.connected()
        asked = [index for index in questions if index in self._node_of]
        # One record dict serves all receivers of a question: its objects are pushed once.
        contents = {id(question): to_records(question) for question in questions.values()}
        messages = [
            Message(
                contents[id(questions[index])],
                self._node_of[index],
                questions[index].kind,
                ttl=timeout,
                group_id=str(questions[index].number),
            )
            for index in asked
        ]
        end = time.monotonic() + timeout
        ids = list(self._grid.push_messages(messages))
        index_of = dict(zip(ids, asked, strict=True))
        answers = {index: Answer(failure=Reason.NOT_CONNECTED) for index in questions if index not in asked}

        def take(reply: Message) -> None:
            index = index_of.get(reply.metadata.reply_to_message_id)
            if index is not None:
                answers[index] = to_answer(reply)
                if seen is not None:
                    seen(index, answers[index])

        self._grid.collect(ids, end - time.monotonic(), take)
        silent = Answer(failure=Reason.ROUND_TIMEOUT)
        return {index: answers.get(index, silent) for index in questions}

    def end(self, outcome: str, expected: frozenset[int], timeout: float) -> int:
        """Tell all gates that the job is over; how many know it.

        Who is `expected` but not connected (this pod may be a new one) gets until `timeout` to come.
        """
        deadline = time.monotonic() + timeout
        told: set[int] = set()
        count = 0
        while True:
            question = Question(END, 0, configs={"end": {"outcome": outcome}})
            if new := sorted(self.connected() - told):
                answers = self.ask(question, new, max(deadline - time.monotonic(), 1.0))
                # One that was lost on its way to a gate is sent again.
                told.update(index for index in new if answers[index].failure is not Reason.GATE_RESTARTED)
                # A gate that has answered leaves at once; Flower reports who has left before it looks for a reply.
                count += sum(answer.failure in (None, Reason.NOT_CONNECTED) for answer in answers.values())
            if expected <= told or time.monotonic() >= deadline:
                return count
            time.sleep(_END_POLL_SECONDS)


def to_records(question: Question) -> RecordDict:
    """The message's content."""
    content = RecordDict()
    if question.arrays is not None:
        content[question.record] = ArrayRecord({name: Array(array) for name, array in question.arrays.items()})
    for name, config in question.configs.items():
        content[name] = ConfigRecord(dict(config))
    if not question.configs and question.arrays is None:
        content["config"] = ConfigRecord({"server-round": question.number})
    return content


def to_answer(reply: Message) -> Answer:
    """A reply as an answer; one that does not hold what it should is an UpdateMismatch."""
    if reply.has_error():
        return Answer(failure=error_reason(reply.error))
    try:
        arrays: Arrays | None = None
        for record in reply.content.array_records.values():
            arrays = {name: array.numpy() for name, array in record.items()}
            break
        metrics: Mapping[str, Any] = next((dict(r) for r in reply.content.metric_records.values()), {})
        records = {
            name: dict(record)
            for name, record in reply.content.items()
            if isinstance(record, MetricRecord | ConfigRecord)
        }
    except (ValueError, TypeError, KeyError):
        return Answer(failure=Reason.UPDATE_MISMATCH)
    return Answer(arrays=arrays, metrics=metrics, records=records)


def error_reason(error: Error) -> Reason:
    """Reason of an error reply, from the gate's codes or Flower's."""
    return _FLOWER_REASONS.get(error.code) or reason_for(error.code)
