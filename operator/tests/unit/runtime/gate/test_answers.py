"""Between a filter and the server: what fails stays here, what the gate knows by itself is said without the trainer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, RecordDict

from hanse.api.replies import ReplyCode
from hanse.runtime.flower import wire
from hanse.runtime.gate.answers import code_of
from hanse.runtime.gate.content import Content
from hanse.runtime.gate.filter import Asked, Forward, Ready
from hanse.runtime.gate.frames import Frame
from hanse.runtime.gate.npy import view_of
from hanse.runtime.gate.session import END_MESSAGE
from tests.unit.runtime.gate.memory_fleet import MemoryFleet, Stage, letter, model


class Scripted:
    """A filter that does what the test says."""

    timed = False

    def __init__(self) -> None:
        self.decision: Any = Forward()
        self.made: Any = None
        self.closed = 0
        self.asked: list[Asked] = []

    def before(self, asked: Asked) -> Forward | Ready:
        return _of(self.decision)

    def after(self, asked: Asked, reply: Content) -> Content:
        self.asked.append(asked)
        return _of(reply if self.made is None else self.made)

    def close(self) -> None:
        self.closed += 1
        raise OSError("the ledger is away")

    def leave(self) -> None:
        """Nothing is held."""


def _of(value: Any) -> Any:
    if isinstance(value, BaseException):
        raise value
    return value


class TimedFleet(MemoryFleet):
    """Remembers how long an app is said to have taken."""

    seconds: float = -1.0

    def compose(self, origin: bytes, content: RecordDict | int, seconds: float) -> Any:
        self.seconds = seconds
        return super().compose(origin, content, seconds)


@pytest.fixture
def chosen() -> Scripted:
    return Scripted()


@pytest.fixture
def stage(tmp_path: Path, chosen: Scripted) -> Iterator[Stage]:
    stage = Stage(tmp_path, fleet=TimedFleet(), chosen=chosen)
    yield stage
    stage.finish()


def test_the_gates_own_answer_needs_no_trainer(stage: Stage, chosen: Scripted) -> None:
    chosen.decision = Ready({"arrays": wire.view(model(7.0))["arrays"]})
    stage.send(letter(model()))
    answer = stage.answer()
    assert isinstance(answer, RecordDict)
    assert answer.array_records["arrays"]["w"].numpy()[0] == 7.0


def test_the_owners_layers_take_the_servers_place(stage: Stage, chosen: Scripted) -> None:
    own = {"w": view_of(np.full(3, 5.0, np.float32)), "unknown": view_of(np.zeros(1))}
    chosen.decision = Forward(own)
    stage.send(letter(model(1.0)))
    frame = stage.hear("message")
    arrays = wire.unpack(frame.blobs[: frame.meta["split"]]).array_records["arrays"]
    assert list(arrays) == ["w"]
    assert arrays["w"].numpy()[0] == 5.0
    stage.reply(model(2.0))
    stage.answer()
    assert chosen.asked[0].content["arrays"].arrays["w"].data == b"", "the model's bytes are not held meanwhile"


@pytest.mark.parametrize("error", [OSError(28, "full"), MemoryError(), ZeroDivisionError(), KeyError("row 42")])
@pytest.mark.parametrize("when", ["before", "after"])
def test_whatever_a_filter_raises_lets_nothing_out(stage: Stage, chosen: Scripted, error: Any, when: str) -> None:
    if when == "before":
        chosen.decision = error
        stage.send(letter(model()))
    else:
        chosen.made = error
        stage.send(letter(model()))
        stage.hear("message")
        stage.reply(model(2.0))
    assert stage.answer() == ReplyCode.GATE_FAILED
    chosen.decision, chosen.made = Forward(), None
    stage.send(letter(model(), message_id="m2"))
    stage.hear("message")
    stage.reply(model(3.0), message_id="m2")
    assert isinstance(stage.answer(), RecordDict), "the gate goes on"


def test_the_server_does_not_learn_how_long_the_app_took(stage: Stage) -> None:
    stage.send(letter(model()))
    stage.hear("message")
    stage.reply(model(2.0))
    stage.answer()
    fleet = stage.fleet
    assert isinstance(fleet, TimedFleet)
    assert fleet.seconds == 0.0


def test_the_account_is_closed_at_the_end_and_the_job_ends_all_the_same(stage: Stage, chosen: Scripted) -> None:
    stage.send(letter(RecordDict({"end": ConfigRecord({"outcome": "Complete"})}), END_MESSAGE))
    stage.hear("end")
    assert chosen.closed == 1


@pytest.mark.parametrize("code", [ReplyCode.ALREADY_RELEASED, ReplyCode.LEASE_LOST, ReplyCode.NON_FINITE_UPDATE])
def test_a_trainer_cannot_speak_for_the_gate(code: ReplyCode) -> None:
    assert code_of(Frame("reply", {"code": code})) == ReplyCode.APP_ERROR
