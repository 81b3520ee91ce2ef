"""A trainer's time with the gate: every way a message can end, with a server in memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ConfigRecord, MetricRecord, RecordDict

from hanse.api.replies import ReplyCode
from hanse.runtime.flower import wire
from hanse.runtime.flower.fleet import NodeUnknown, RunOver, ServerAway
from hanse.runtime.flower.wire_taken import NOTHING, UNKNOWN
from hanse.runtime.gate.frames import ConnectionLost, Frame
from hanse.runtime.gate.heart import Heart
from hanse.runtime.gate.journal import Journal
from hanse.runtime.gate.session import END_MESSAGE
from tests.unit.runtime.gate.memory_fleet import MemoryFleet, Stage, letter, model, wait_until


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.finish()


def values(answer: RecordDict | int) -> list[float]:
    assert isinstance(answer, RecordDict)
    return [float(x) for x in next(iter(answer.array_records.values()))["w"].numpy()]


def test_a_message_goes_to_the_trainer_and_its_reply_to_the_server(stage: Stage) -> None:
    sent = letter(model(1.0))
    stage.send(sent)
    frame = stage.hear("message")
    assert bytes.fromhex(frame.meta["origin"]) == sent.origin
    assert values(wire.unpack(frame.blobs[: frame.meta["split"]])) == [1.0] * 3
    stage.reply(RecordDict({"arrays": model(2.0)["arrays"]}))
    assert values(stage.answer()) == [2.0] * 3


def test_the_apps_state_comes_back_with_the_next_message(stage: Stage) -> None:
    for number in (0, 1, 2):
        stage.send(letter(model(), message_id=f"m{number}"))
        frame = stage.hear("message")
        task = wire.unpack_task(
            bytes.fromhex(frame.meta["origin"]), frame.blobs, frame.meta["split"], wire.Configs({}, {})
        )
        record = task.context.state.get("seen")
        assert (int(str(record["n"])) if isinstance(record, MetricRecord) else 0) == number
        stage.reply(RecordDict(), RecordDict({"seen": MetricRecord({"n": number + 1})}), f"m{number}")
        stage.answer()


def test_a_note_is_there_while_the_trainer_works(stage: Stage) -> None:
    stage.send(letter(model()))
    stage.hear("message")
    assert stage.journal.taken() == "m1"


def test_each_pull_says_what_was_taken_last(tmp_path: Path) -> None:
    fleet = MemoryFleet()
    fleet.inbox.put(letter(model()))  # before the first pull
    first = Stage(tmp_path, fleet=fleet)
    first.hear("message")
    first.trainer.close()
    assert first.answer() == ReplyCode.TRAINER_DIED
    first.over()
    assert first.fleet.taken == [UNKNOWN]
    second = Stage(tmp_path)  # a gate that was killed and restarted
    second.send(letter(model(), message_id="m2"))
    second.hear("message")
    second.reply(RecordDict(), message_id="m2")
    second.answer()
    second.finish()
    assert set(second.fleet.taken[:-1]) <= {"m1", "m2"}
    assert second.fleet.taken[0] == "m1"
    assert Journal(tmp_path).taken() == "m2"


def test_a_gate_whose_first_pull_brought_nothing_knows_that_it_took_nothing(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    wait_until(lambda: len(stage.fleet.taken) > 1)
    stage.finish()
    assert stage.fleet.taken[:2] == [UNKNOWN, NOTHING]


def test_a_pull_that_failed_is_repeated_with_the_same_words(tmp_path: Path) -> None:
    stage = Stage(tmp_path, fleet=MemoryFleet(faults={"pull": [ServerAway("gone")] * 2}))
    stage.send(letter(model()))
    stage.hear("message")
    assert stage.fleet.calls.count("pull") == 3
    assert stage.fleet.taken == [UNKNOWN]
    stage.finish()


@pytest.mark.parametrize("call", ["fetch", "push"])
def test_a_server_that_fails_for_ever_is_not_asked_for_longer_than_anybody_waits(tmp_path: Path, call: str) -> None:
    """It answers heartbeats: nothing else would end the tries."""
    stage = Stage(tmp_path, fleet=MemoryFleet(faults={call: [ServerAway("HTTP 500")] * 10}))
    stage.send(letter(model(), ttl=0.3))
    if call == "push":
        stage.hear("message")
        stage.reply(RecordDict())
    assert stage.hear("cancel").meta == {"id": "m1"}
    stage.fleet.faults[call] = []
    stage.send(letter(model(), message_id="m2"))
    stage.hear("message")
    stage.finish()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (RecordDict({"arrays": model(np.nan)["arrays"]}), ReplyCode.NON_FINITE_UPDATE),
        (RecordDict({"m": MetricRecord({"loss": float("nan")})}), ReplyCode.NON_FINITE_METRIC),
        (RecordDict({"c": ConfigRecord({"row": "42"})}), ReplyCode.NOT_ALLOWED_IN_REPLY),
    ],
)
def test_a_reply_that_may_not_leave_becomes_a_code(stage: Stage, content: RecordDict, code: ReplyCode) -> None:
    stage.send(letter(model()))
    stage.hear("message")
    stage.reply(content)
    assert stage.answer() == code


@pytest.mark.parametrize(
    "meta", [{"id": "m1", "split": 9}, {"id": "m1"}, {"id": "m1", "split": "1"}, {"id": "m1", "split": 1}]
)
def test_a_reply_that_is_none_becomes_a_code(stage: Stage, meta: dict[str, object]) -> None:
    stage.send(letter(model()))
    stage.hear("message")
    stage.trainer.send(Frame("reply", meta, [b"\xff\xff", b""]))
    assert stage.answer() == ReplyCode.UPDATE_MISMATCH


@pytest.mark.parametrize(("said", "code"), [(1002, ReplyCode.TRAINER_DIED), (7, 1001), ("words", 1001), (None, 1001)])
def test_codes_pass_and_anything_else_is_an_app_error(stage: Stage, said: object, code: int) -> None:
    stage.send(letter(model()))
    stage.hear("message")
    stage.say("reply", id="m1", code=said, text="row 42")
    assert stage.answer() == code


def test_a_late_reply_to_another_message_is_ignored(stage: Stage) -> None:
    stage.send(letter(model()))
    stage.hear("message")
    stage.reply(RecordDict({"arrays": model(9.0)["arrays"]}), message_id="m0")
    stage.reply(RecordDict({"arrays": model(2.0)["arrays"]}))
    assert values(stage.answer()) == [2.0] * 3


def test_a_trainer_that_dies_is_answered_for_and_goes_offline(stage: Stage) -> None:
    stage.send(letter(model()))
    stage.hear("message")
    stage.trainer.close()
    assert stage.answer() == ReplyCode.TRAINER_DIED
    assert stage.fleet.offline.wait(20)


def test_a_trainer_that_leaves_is_answered_for_before_it_goes(stage: Stage) -> None:
    stage.send(letter(model()))
    stage.hear("message")
    stage.say("leave", code=ReplyCode.OUT_OF_MEMORY)
    assert stage.answer() == ReplyCode.OUT_OF_MEMORY
    stage.hear("left")
    assert stage.fleet.offline.is_set()


def test_an_idle_trainer_may_leave(stage: Stage) -> None:
    assert stage.fleet.online.wait(20)
    stage.say("leave", code=ReplyCode.DRAINED)
    stage.hear("left")
    stage.over()


def test_a_message_whose_time_is_over_is_given_up(stage: Stage) -> None:
    stage.send(letter(model(), ttl=0.01))
    stage.hear("message")
    assert stage.hear("cancel").meta == {"id": "m1"}
    assert stage.answer() == ReplyCode.ROUND_TIMEOUT


def test_a_gate_that_is_told_to_stop_answers_first(stage: Stage) -> None:
    stage.send(letter(model()))
    stage.hear("message")
    stage.wake.stop()
    assert stage.answer() == ReplyCode.DRAINED
    stage.over()
    assert stage.fleet.offline.is_set()


def test_the_end_of_the_job_is_acknowledged_and_then_told(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.send(letter(RecordDict({"end": ConfigRecord({"outcome": "Complete"})}), END_MESSAGE))
    assert stage.hear("end").meta == {"outcome": "Complete"}
    answer = stage.answer()
    assert isinstance(answer, RecordDict)
    assert not answer
    stage.over()
    late = Stage(tmp_path)
    assert late.hear("end").meta == {"outcome": "Complete"}
    late.over()
    assert not late.fleet.calls


def test_the_trainer_learns_of_the_end_also_when_nobody_takes_the_acknowledgement(tmp_path: Path) -> None:
    stage = Stage(tmp_path, fleet=MemoryFleet(faults={"push": [ServerAway("gone")]}))
    stage.send(letter(RecordDict(), END_MESSAGE))
    stage.hear("end")
    stage.over()


def test_a_server_that_is_away_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    faults = {name: [ServerAway("gone")] for name in ("activate", "pull", "fetch", "push")}
    stage = Stage(tmp_path, fleet=MemoryFleet(faults=faults))  # type: ignore[arg-type]
    stage.send(letter(model()))
    stage.hear("message")
    stage.reply(RecordDict({"arrays": model(2.0)["arrays"]}))
    assert values(stage.answer()) == [2.0] * 3
    assert stage.fleet.faults == {"activate": [], "pull": [], "fetch": [], "push": []}
    # The server takes one reply: what is repeated is the same answer.
    assert len(stage.fleet.composed) == 1
    stage.finish()


def test_a_server_that_stays_away_is_given_up(tmp_path: Path) -> None:
    stage = Stage(tmp_path, patience=0.05, fleet=MemoryFleet(faults={"activate": [ServerAway("refused")] * 99}))
    assert "refused" in stage.hear("lost").meta["text"]
    stage.over()
    with pytest.raises(ConnectionLost):
        stage.trainer.recv()


def test_a_key_that_is_not_registered_is_named(tmp_path: Path) -> None:
    fault = NodeUnknown("HTTP 412 Failed to activate SuperNode.")
    stage = Stage(tmp_path, patience=0.05, fleet=MemoryFleet(faults={"activate": [fault] * 99}))
    assert "activate" in stage.hear("lost").meta["text"]
    stage.over()


def test_a_server_that_forgot_the_node_gets_it_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path, fleet=MemoryFleet(faults={"pull": [NodeUnknown("401")]}))
    stage.send(letter(model()))
    stage.hear("message")
    assert stage.fleet.calls.count("activate") == 2
    stage.finish()


def test_a_server_that_forgets_the_node_each_time_is_given_up(tmp_path: Path) -> None:
    stage = Stage(tmp_path, patience=0.5, fleet=MemoryFleet(faults={"pull": [NodeUnknown("401")] * 1000}))
    assert "401" in stage.hear("lost").meta["text"]
    stage.over()
    # With a pause before each: 0.1, 0.2, 0.4 seconds.
    assert stage.fleet.calls.count("pull") <= 5


def test_a_heart_that_is_forgotten_each_time_hears_nothing() -> None:
    seconds = [0.0]
    fleet = MemoryFleet(faults={"heartbeat": [NodeUnknown("401")] * 3})
    heart = Heart(fleet, clock=lambda: seconds[0])
    seconds[0] = 9.0
    assert not heart._beat()
    assert heart.silence() == 9.0
    assert heart._beat()  # forgotten once: it is told so, and known again
    assert heart.silence() == 0.0
    assert fleet.calls == ["heartbeat", "activate", "heartbeat"] * 2


def test_a_reply_to_a_run_that_is_over_is_dropped_and_the_next_message_is_served(tmp_path: Path) -> None:
    stage = Stage(tmp_path, fleet=MemoryFleet(faults={"push": [RunOver("403")]}))
    stage.send(letter(model()))
    stage.hear("message")
    stage.reply(RecordDict())
    stage.hear("cancel")
    stage.send(letter(model(), message_id="m2"))
    stage.hear("message")
    stage.reply(RecordDict(), message_id="m2")
    assert stage.answer() == RecordDict()
    stage.finish()
