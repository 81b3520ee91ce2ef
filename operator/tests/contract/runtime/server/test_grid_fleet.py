"""The real fleet keeps the contract that the round loop's tests rely on (`rounds_fleet.Fleet`)."""

import signal

import numpy as np
import pytest
from flwr.app import Message

from hanse.api.conditions import Reason
from hanse.runtime.flower.rounds_fleet import EVALUATE, INITIAL, TRAIN, Answer, Question
from hanse.runtime.flower.server_app import GridFleet, to_records
from tests.contract.runtime.gate.pod import Driver
from tests.contract.runtime.server.rig import Rig, wait_for

pytestmark = pytest.mark.timeout(300)
CLIENTS = 3


@pytest.fixture(scope="module")
def fleet(rig: Rig, driver: Driver) -> GridFleet:
    """Participants 0 and 1 are there, 1 fails in round 7, 2 never comes."""
    made = GridFleet(driver.grid, rig.config.participants)
    assert made.connected() == frozenset()
    rig.start_node(0)
    rig.start_node(1, "--fail-at", "7")
    wait_for(lambda: made.connected() == {0, 1}, "both nodes", 120)
    return made


def _train(number: int, size: int = 8) -> Question:
    arrays = {"w": np.zeros(size, np.float32), "b": np.ones(2, np.float32)}
    return Question(TRAIN, number, arrays, {"config": {"server-round": number}})


def test_a_node_is_known_by_its_index(fleet: GridFleet) -> None:
    seen: list[Message] = []
    fleet._grid.hear = seen.extend
    fleet.ask(_train(1), [0, 1], 60)
    assert {fleet.index_of(reply.metadata.src_node_id) for reply in seen} == {0, 1}
    assert fleet.index_of(12345) is None


def test_answers_come_by_index_with_arrays_and_metrics(fleet: GridFleet) -> None:
    answers = fleet.ask(_train(1), [0, 1], 60)
    assert sorted(answers) == [0, 1]
    for index, answer in answers.items():
        assert answer.failure is None
        assert answer.arrays is not None
        assert list(answer.arrays) == ["w", "b"]
        assert answer.arrays["w"].dtype == np.float32
        assert answer.arrays["w"][0] == np.float32(index + 1.125) * np.float32(0.3)
        assert answer.metrics["num-examples"] == 10 * (index + 1)


def test_evaluate_answers_have_metrics_alone(fleet: GridFleet) -> None:
    question = Question(EVALUATE, 1, {"w": np.zeros(2, np.float32)}, {"config": {"server-round": 1}})
    answer = fleet.ask(question, [0], 60)[0]
    assert answer.arrays is None
    assert answer.metrics["loss"] > 0


def test_the_initial_model_comes_with_what_the_app_says_about_it(fleet: GridFleet) -> None:
    answer = fleet.ask(Question(INITIAL, 0), [0], 60)[0]
    assert answer.arrays is not None
    assert answer.records["app"] == {"statistics": False, "model": "{}"}


def test_a_gates_code_becomes_a_reason_and_the_others_are_not_held_up(fleet: GridFleet) -> None:
    answers = fleet.ask(_train(7), [0, 1], 60)
    assert answers[0].failure is None
    assert answers[1].failure == Reason.APP_ERROR


def test_who_never_connected_is_not_connected(fleet: GridFleet) -> None:
    answers = fleet.ask(_train(2), [0, 2], 60)
    assert answers[0].failure is None
    assert answers[2].failure == Reason.NOT_CONNECTED


def test_arrays_of_many_objects_arrive_whole(fleet: GridFleet) -> None:
    answers = fleet.ask(_train(3, size=3_000_000), [0, 1], 120)
    for index, answer in answers.items():
        assert answer.arrays is not None
        assert answer.arrays["w"].shape == (3_000_000,)
        assert np.unique(answer.arrays["w"]).tolist() == [np.float32(index + 1.375) * np.float32(0.3)]


def test_each_may_be_asked_something_else_at_once_and_is_seen_when_it_answers(fleet: GridFleet) -> None:
    seen: dict[int, Answer] = {}
    large = Question(EVALUATE, 5, {"w": np.zeros(2_000_000, np.float32)}, {"config": {"server-round": 5}})
    answers = fleet.ask_each({0: _train(5), 1: large, 2: large}, 60, seen.__setitem__)
    assert answers[0].arrays is not None
    assert answers[1].arrays is None
    assert answers[1].metrics["loss"] == pytest.approx((2 + 0.625) ** 2)
    assert answers[2].failure == Reason.NOT_CONNECTED
    assert seen == {0: answers[0], 1: answers[1]}


def test_arrays_travel_in_the_record_that_the_question_names() -> None:
    question = Question("query.he_apply", 1, {"sum": np.zeros(3, np.uint8)}, {"he": {"text": "{}"}}, "sum")
    records = to_records(question)
    assert list(records.array_records) == ["sum"]
    assert list(records.array_records["sum"]) == ["sum"]


def test_who_stays_silent_has_a_round_timeout(fleet: GridFleet, rig: Rig) -> None:
    rig.processes["node-1"].send_signal(signal.SIGSTOP)
    answers = fleet.ask(_train(4), [0, 1], 2)
    assert answers[1].failure == Reason.ROUND_TIMEOUT
    rig.processes["node-1"].send_signal(signal.SIGCONT)


def test_the_end_is_acknowledged_by_all_that_are_there(fleet: GridFleet, rig: Rig) -> None:
    assert fleet.end("Complete", frozenset({0, 1}), 60) == 2
    assert rig.wait_exit("node-0") == 0
