"""Messages that were handed out and did not arrive: no round waits for its time-out, nothing is worked on twice.

Real gate, trainer and SuperLink behind the real front. A peer with the node's key that pulls a message and drops it
stands for a connection that broke after the SuperLink had marked the message as delivered.
"""

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message

from hanse.api.exitcodes import ExitCode
from hanse.api.replies import ReplyCode
from hanse.runtime.flower.fleet import FleetLink, client_tls
from hanse.runtime.flower.server_app import GridFleet
from tests.contract.runtime.gate.pod import ClientPod, Driver, model
from tests.contract.runtime.server.rig import Rig, superlink, wait_for

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
]
CLIENTS = 6
#: Far above what a recovery takes, far below what the tests' messages live.
SOON = 150.0
LONG = 900.0


class Broken(FleetLink):
    """The node's connection that breaks when the answer is on its way."""

    def lose(self) -> str:
        """Pull a message and drop it; its id."""
        letter = wait_for(self.pull, "a message to lose")
        return str(letter.message_id)


@pytest.fixture(scope="module")
def rig(rig: Rig) -> Rig:
    """Behind the front."""
    rig.start_program("front", "hanse.runtime.front")
    return rig


def _client(rig: Rig, index: int, **config: Any) -> ClientPod:
    return ClientPod(rig, index, {"server_address": f"localhost:{rig.config.server_port}", "config": config})


def _pod(rig: Rig, driver: Driver, index: int, **config: Any) -> ClientPod:
    pod = _client(rig, index, **config)
    pod.start()
    wait_for(lambda: driver.nodes[index] in driver.grid.get_node_ids(), "the node to be online", 120)
    assert driver.train(index)[0].has_content()
    return pod


def _broken(pod: ClientPod) -> Broken:
    link = Broken(pod.config.server_address, client_tls(pod.paths), (pod.paths.tls / "node.key").read_bytes())
    link.activate()
    return link


def _send(driver: Driver, index: int, **config: Any) -> str:
    content = model(4)
    content["config"] = ConfigRecord({"server-round": 1, **config})
    (sent,) = driver.grid.push_messages([driver.message(index, "train", content, ttl=LONG)])
    return str(sent)


def _reply(driver: Driver, sent: str) -> Message:
    replies = driver.grid.collect([sent], SOON)
    assert replies, "the round would have waited for its time-out"
    return replies[0]


def _calls(reply: Message) -> int:
    return int(str(reply.content.metric_records["metrics"]["state_calls"]))


def test_a_message_that_a_killed_gate_never_got_is_handed_out_again(rig: Rig, driver: Driver) -> None:
    pod = _pod(rig, driver, 0)
    rig.kill(pod.gate)
    sent = _send(driver, 0)
    assert _broken(pod).lose() == sent
    pod.start_gate()
    reply = _reply(driver, sent)
    assert reply.has_content(), reply
    assert _calls(reply) == 2  # the first was _pod's: nothing was worked on twice


def test_a_gate_killed_in_its_idle_pull_takes_nothing_with_it(rig: Rig, driver: Driver) -> None:
    """The next message comes while its process dies, before and after the front has seen it."""
    pod = _pod(rig, driver, 1)
    for expected in (2, 3):
        rig.kill(pod.gate)
        sent = _send(driver, 1)
        pod.start_gate()
        reply = _reply(driver, sent)
        assert reply.has_content(), reply
        assert _calls(reply) == expected


def test_a_pull_whose_answer_is_lost_under_a_living_gate_brings_it_with_the_next(rig: Rig, driver: Driver) -> None:
    pod = _pod(rig, driver, 4)
    os.kill(rig.processes[pod.gate].pid, signal.SIGSTOP)
    broken = _broken(pod)
    # The SuperLink holds these back for longer than what is left of the gate's own pull.
    assert [broken.pull(), broken.pull()] == [None, None]
    sent = _send(driver, 4)
    assert broken.lose() == sent
    os.kill(rig.processes[pod.gate].pid, signal.SIGCONT)
    assert _reply(driver, sent).has_content()


def test_a_new_pod_is_let_in_at_once_and_what_the_old_one_had_is_answered(rig: Rig, driver: Driver) -> None:
    """Flower locks the node of a killed process out for two heartbeat intervals, and waits for the reply for ever."""
    pod = _pod(rig, driver, 2)
    sent = _send(driver, 2, fail="hang")
    pod.wait_taken(sent)
    pod.replace()
    reply = _reply(driver, sent)
    assert reply.error.code == ReplyCode.GATE_RESTARTED
    assert driver.train(2)[0].has_content()
    assert "412" not in rig.log(pod.gate)


def test_what_a_vanished_pod_may_have_worked_on_is_not_handed_to_the_next(rig: Rig, driver: Driver) -> None:
    """Also when nobody knows whether it arrived: a second release would cost privacy a second time."""
    pod = _pod(rig, driver, 3)
    rig.kill(pod.gate)
    sent = _send(driver, 3)
    assert _broken(pod).lose() == sent
    pod.replace()
    assert _reply(driver, sent).error.code == ReplyCode.GATE_RESTARTED
    reply = driver.train(3)[0]
    assert _calls(reply) == 1


def test_the_end_of_the_job_reaches_the_successor_of_a_gate_that_it_was_lost_with(rig: Rig, driver: Driver) -> None:
    pod = _pod(rig, driver, 5)
    rig.kill(pod.gate)
    fleet = GridFleet(driver.grid, [p for p in rig.config.participants if p.index == 5])
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(fleet.end, "Complete", frozenset({5}), SOON)
        _broken(pod).lose()
        pod.replace()
        assert told.result() == 1
    assert pod.wait(pod.trainer) == ExitCode.COMPLETE


def test_a_stranger_with_a_certificate_cannot_answer_for_another_node(rig: Rig, driver: Driver) -> None:
    """It is the node's key that counts, not what a request says of itself."""
    other = ClientPod(rig, 3)
    link = FleetLink(f"localhost:{rig.config.server_port}", client_tls(other.paths), rig.node_key_file(3).read_bytes())
    link.activate()
    assert link._node is not None
    link._node.node_id = driver.nodes[2]
    with pytest.raises(Exception, match="401"):
        link.pull("unknown")


def test_a_server_pod_that_is_replaced_in_mid_round_goes_on_with_the_gates_that_were_there(tmp_path: Path) -> None:
    """All its processes die at once, both gates have a message in their hands; no round may wait for its time-out."""
    rounds, app = 5, "hanse.runtime.apps.counting:app"
    with Rig(tmp_path, 2, {"rounds": rounds, "round_timeout_seconds": 900, "client_app": app}) as rig:
        for program in ("superlink", "front", "server"):
            rig.start_program(program, f"hanse.runtime.{program}", POD_NAME="pod-1")
        pods = [_client(rig, i, fail="slow", seconds="2") for i in range(2)]
        for pod in pods:
            pod.start()
        wait_for(lambda: (p := rig.progress()) is not None and p.completed >= 2, "round 2", 150)
        taken = [pod.taken() for pod in pods]
        wait_for(lambda: all(pod.taken() != t for pod, t in zip(pods, taken, strict=True)), "the next messages")
        for program in ("server", "superlink", "front"):
            rig.kill(program)
        for program in ("superlink", "front", "server"):
            rig.start_program(program, f"hanse.runtime.{program}", POD_NAME="pod-2")
        assert rig.wait_exit("server", SOON) == ExitCode.COMPLETE, rig.log("server")
        progress = rig.progress()
        assert progress is not None
        assert sorted((r.number, r.contributed) for r in progress.rounds) == [(n, 2) for n in range(1, rounds + 1)]
        assert [pod.wait(pod.trainer) for pod in pods] == [ExitCode.COMPLETE] * 2


def test_a_reply_to_a_former_server_is_dropped_and_the_next_run_served(tmp_path: Path) -> None:
    """A new server pod has a new database: it answers a reply to an unknown run with a 500, which Flower repeats."""
    with superlink(tmp_path, clients=1) as rig:
        rig.start_program("front", "hanse.runtime.front")
        driver = Driver(rig)
        pod = _pod(rig, driver, 0, seconds="3")
        sent = _send(driver, 0, fail="slow")
        pod.wait_taken(sent)
        driver.close()
        rig.kill("superlink")
        rig.start_program("superlink", "hanse.runtime.superlink", POD_NAME="pod-2")
        rig.wait_superlink()
        driver = Driver(rig)
        driver.online(0)
        assert _reply(driver, _send(driver, 0)).has_content()
        driver.close()
