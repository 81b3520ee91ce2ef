"""Rounds of a user's own ServerApp: it is told how many, and the progress is what its messages show."""

from collections.abc import Callable
from typing import Any

import pytest
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity

from hanse.api.progress import Progress
from hanse.api.runconfig import RunConfig
from hanse.runtime.flower.own_app import RoundWatch, run_config
from hanse.runtime.flower.rounds_report import Reporter
from tests.unit.runtime.server.memory_fleet import FakeClock, make_config

#: Participants by the id of their node; another node is a stranger.
NODES = {71: 0, 72: 1}


@pytest.fixture(autouse=True)
def a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Message asks which run it belongs to."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


@pytest.fixture
def pushed() -> list[Progress]:
    return []


@pytest.fixture
def watch(pushed: list[Progress]) -> RoundWatch:
    clock = FakeClock()
    return RoundWatch(Reporter(own(), pushed.append, clock.now), clock.now, NODES.get)


def own(**changes: Any) -> RunConfig:
    return make_config(2, server_app="my_app:app", rounds=10, **changes)


def message(group: str = "", **config: Any) -> Message:
    return Message(RecordDict({"config": ConfigRecord(config)}), 1, "train", group_id=group)


def reply(node: int, kind: str = "train", error: Error | None = None) -> Message:
    asked = Message(RecordDict(), node, kind)
    asked.metadata.__dict__["_message_id"] = "m"
    asked.metadata.__dict__["_dst_node_id"] = node
    return Message(error, reply_to=asked) if error else Message(RecordDict(), reply_to=asked)


def test_the_app_is_told_how_many_rounds() -> None:
    assert run_config(own(config={"lr": "0.5"})) == {"num-server-rounds": 10, "lr": 0.5}


def test_what_the_app_has_in_its_config_stays() -> None:
    assert run_config(own(config={"num-server-rounds": "7"})) == {"num-server-rounds": 7}


def test_the_platforms_server_app_gets_no_key_that_nobody_wrote() -> None:
    assert run_config(make_config(2, config={"lr": "0.5"})) == {"lr": 0.5}


@pytest.mark.parametrize("numbered", [lambda n: message(str(n)), lambda n: message(**{"server-round": n})])
def test_a_round_is_complete_when_the_next_begins(
    watch: RoundWatch, pushed: list[Progress], numbered: Callable[[int], Message]
) -> None:
    for number in (1, 1, 2, 2, 3):
        watch.sent([numbered(number), numbered(number)])
    assert [p.completed for p in pushed] == [0, 1, 2]


def test_the_end_completes_the_highest_round_that_was_seen(watch: RoundWatch) -> None:
    watch.sent([message("3")])
    watch.sent([message("2")])
    assert watch.finish() == "the ServerApp ended after round 3 of 10"
    assert (watch.reporter.progress().completed, watch.reporter.progress().total) == (3, 10)


def test_all_rounds_need_no_words(watch: RoundWatch) -> None:
    watch.sent([message("10")])
    assert watch.finish() == ""
    assert watch.reporter.completed == 10


def test_an_app_that_numbers_nothing_has_no_rounds_to_show(watch: RoundWatch, pushed: list[Progress]) -> None:
    watch.sent([message()])
    assert watch.finish() == "the ServerApp has ended; its messages name no round"
    assert (watch.reporter.completed, pushed) == (0, [])


@pytest.mark.parametrize("group", ["0", "-1", "fold-3", "1732300000", "9" * 5000, "²"])
def test_a_group_that_is_no_round_is_none(watch: RoundWatch, pushed: list[Progress], group: str) -> None:
    watch.sent([message(group)])
    assert pushed == []


@pytest.mark.parametrize("value", [0, -1, True, 2.0, "2", 10**9, [1, 2]])
def test_a_server_round_that_is_no_round_is_none(watch: RoundWatch, pushed: list[Progress], value: Any) -> None:
    watch.sent([message(**{"server-round": value})])
    assert pushed == []


def test_the_round_in_the_config_counts_more_than_the_group(watch: RoundWatch) -> None:
    watch.sent([message("99", **{"server-round": 2})])
    watch.finish()
    assert watch.reporter.completed == 2


def test_flowers_own_strategies_number_their_messages(watch: RoundWatch) -> None:
    """They leave group_id empty: the round is in the config record of what they send."""

    class Nodes:
        def get_node_ids(self) -> list[int]:
            return [1, 2]

    strategy: Any = FedAvg()
    watch.sent(list(strategy.configure_train(4, ArrayRecord(), ConfigRecord(), Nodes())))
    watch.finish()
    assert watch.reporter.completed == 4


def test_an_empty_batch_is_no_round(watch: RoundWatch, pushed: list[Progress]) -> None:
    watch.sent([])
    assert pushed == []


def test_an_update_counts_once_in_a_round(watch: RoundWatch) -> None:
    for number in (1, 2, 3):
        watch.sent([message(str(number))])
        watch.heard([reply(71), reply(71), reply(71, "evaluate")])
    watch.heard([reply(72, "train.head")])
    assert watch.reporter.contributed == {"p0": 3, "p1": 1}
    assert set(watch.reporter.last_seen) == {0, 1}


def test_errors_evaluations_and_strangers_are_no_updates(watch: RoundWatch) -> None:
    watch.sent([message("1")])
    watch.heard([reply(71, error=Error(3, "")), reply(72, "evaluate"), reply(99)])
    assert watch.reporter.contributed == {}
    assert set(watch.reporter.last_seen) == {1}
