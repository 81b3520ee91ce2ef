"""Gate and trainer against a real SuperLink: one run through every fault that a client pod can have."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.common.constant import ErrorCode

from hanse.api.exitcodes import ExitCode
from hanse.api.replies import ReplyCode
from tests.contract.runtime.gate.pod import ClientPod, Driver, model
from tests.contract.runtime.server.rig import Rig, superlink, wait_for

CLIENTS = 3


@pytest.fixture(scope="module")
def pod(rig: Rig, driver: Driver) -> ClientPod:
    pod = ClientPod(rig, 0)
    pod.start_gate()
    pod.start_trainer()
    driver.online(0)
    return pod


def vector(reply: Message) -> list[float]:
    return [float(x) for x in reply.content.array_records["arrays"]["vector"].numpy()]


def faulty(driver: Driver, fail: str, ttl: float = 60.0) -> Message:
    content = model(4)
    content["config"] = ConfigRecord({"server-round": 1, "fail": fail})
    return driver.message(0, "train", content, ttl=ttl)


def code(replies: list[Message]) -> int:
    (reply,) = replies
    assert not reply.error.reason
    return reply.error.code


def test_train_evaluate_and_query_work(driver: Driver, pod: ClientPod) -> None:
    (reply,) = driver.train(0)
    assert vector(reply) == [1.0] * 4
    (reply,) = driver.train(0, kind="evaluate")
    assert reply.content.metric_records["metrics"]["num-examples"] == 10
    (reply,) = driver.ask(driver.message(0, "query.initial", RecordDict({"config": ConfigRecord({})})))
    assert reply.content.config_records["app"]["statistics"] is False


@pytest.mark.parametrize(
    ("fail", "expected"),
    [
        ("exception", ReplyCode.APP_ERROR),
        ("nan-update", ReplyCode.NON_FINITE_UPDATE),
        ("nan-metric", ReplyCode.NON_FINITE_METRIC),
        ("wrong-shape", ReplyCode.UPDATE_MISMATCH),
        ("wrong-name", ReplyCode.UPDATE_MISMATCH),
        ("extra-record", ReplyCode.NOT_ALLOWED_IN_REPLY),
        ("exit", ReplyCode.TRAINER_DIED),
    ],
)
def test_the_server_gets_a_code_and_not_a_word(driver: Driver, pod: ClientPod, fail: str, expected: ReplyCode) -> None:
    assert code(driver.ask(faulty(driver, fail))) == expected


def test_more_than_one_chunk_comes_through_byte_for_byte(driver: Driver, pod: ClientPod) -> None:
    values = np.random.default_rng(1).standard_normal((3, 700_000)).astype(np.float32)
    arrays = ArrayRecord({"vector": Array(values), "bias": Array(np.zeros(3))})
    (reply,) = driver.ask(driver.message(0, "train", RecordDict({"arrays": arrays, "config": ConfigRecord({})})))
    record = reply.content.array_records["arrays"]
    assert list(record) == ["vector", "bias"]
    np.testing.assert_array_equal(record["vector"].numpy(), values + np.float32(1))


def test_a_killed_gate_answers_for_the_message_that_it_lost(rig: Rig, driver: Driver, pod: ClientPod) -> None:
    (sent,) = driver.grid.push_messages([faulty(driver, "hang")])
    pod.wait_taken(sent)
    rig.kill(pod.gate)
    pod.start_gate()
    assert code(driver.grid.collect([sent], 120)) == ReplyCode.GATE_RESTARTED
    (reply,) = driver.train(0)
    # Context.state outlives the gate: the calls before are remembered.
    assert int(str(reply.content.metric_records["metrics"]["state_calls"])) > 2


def test_a_killed_superlink_is_waited_for(rig: Rig, driver: Driver, pod: ClientPod) -> None:
    rig.kill("superlink")
    rig.start_superlink()
    assert vector(driver.train(0)[0]) == [1.0] * 4


def test_a_killed_trainer_is_answered_for(rig: Rig, driver: Driver) -> None:
    pod = ClientPod(rig, 1)
    pod.start()
    wait_for(lambda: driver.nodes[1] in driver.grid.get_node_ids(), "the node to be online", 120)
    (sent,) = driver.grid.push_messages([driver.message(1, "train", _hang())])
    pod.wait_taken(sent)
    rig.kill(pod.trainer)
    assert code(driver.grid.collect([sent], 120)) == ReplyCode.TRAINER_DIED
    wait_for(lambda: driver.nodes[1] not in driver.grid.get_node_ids(), "the node to be offline", 120)
    rig.kill(pod.gate, signal.SIGTERM)


def test_a_drained_pod_answers_and_goes(rig: Rig, driver: Driver) -> None:
    pod = ClientPod(rig, 2)
    pod.start()
    wait_for(lambda: driver.nodes[2] in driver.grid.get_node_ids(), "the node to be online", 120)
    (sent,) = driver.grid.push_messages([driver.message(2, "train", _hang())])
    pod.wait_taken(sent)
    os.kill(rig.processes[pod.trainer].pid, signal.SIGTERM)
    assert code(driver.grid.collect([sent], 120)) == ReplyCode.DRAINED
    assert pod.wait(pod.trainer) == ExitCode.DRAINED
    rig.kill(pod.gate, signal.SIGTERM)


def test_the_end_of_the_job_ends_the_trainer_well(driver: Driver, pod: ClientPod) -> None:
    (acknowledged,) = driver.end(0)
    # A gate that has answered leaves at once, and Flower reports who has left before it looks for a reply.
    gone = acknowledged.has_error() and acknowledged.error.code == ErrorCode.NODE_UNAVAILABLE
    assert acknowledged.has_content() or gone, acknowledged
    assert pod.wait(pod.trainer) == ExitCode.COMPLETE


def test_a_node_that_is_not_registered_gives_up_and_says_so(tmp_path: Path, rig: Rig) -> None:
    with Rig(tmp_path, 1, {"superlink_port": rig.config.superlink_port}) as stranger:
        stranger.authority = rig.authority
        pod = ClientPod(stranger, 0, {"server_lost_seconds": 15})
        pod.start()
        assert pod.wait(pod.trainer) == ExitCode.SERVER_LOST
        assert "412" in pod.termination()


def _hang() -> RecordDict:
    content = model(4)
    content["config"] = ConfigRecord({"server-round": 1, "fail": "hang"})
    return content


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_the_gate_passes_the_front_with_its_certificate(tmp_path: Path) -> None:
    with superlink(tmp_path, clients=1) as rig:
        rig.start_program("front", "hanse.runtime.front")
        driver = Driver(rig)
        pod = ClientPod(rig, 0, {"server_address": f"localhost:{rig.config.server_port}"})
        pod.start()
        driver.online(0)
        assert vector(driver.train(0)[0]) == [1.0] * 4
        driver.end(0)
        assert pod.wait(pod.trainer) == ExitCode.COMPLETE
        driver.close()
