"""A private job's gate killed between its steps, with the real programs: nothing is noised twice under one charge.

The ledger's lock, held by the test, stops the gate between storing its bytes and paying for them; a SuperLink that
stands still stops it between paying and sending.
"""

import os
import signal
import subprocess
import sys

import pytest

from hanse.api.privacy import PrivacyPlan, ReleaseKind, Slot
from hanse.api.replies import ReplyCode
from hanse.runtime.gate.outbox import Outbox, digest_of
from hanse.runtime.ledger.book import Book
from tests.contract.runtime.gate.pod import ClientPod, Driver, model
from tests.contract.runtime.server.rig import Rig, wait_for
from tests.unit.runtime.gate import sample_job

pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

PLAN = PrivacyPlan(unit="Silo", adjacency="Replace", epsilon="3", delta="1e-5", clip="1", noise_multipliers=["5"] * 3)
CLIENTS = 2
FIRST = Slot(ReleaseKind.TRAIN, 1, 1)
WAIT = 120.0


class PrivatePod(ClientPod):
    """A client pod with a ledger that has reserved for it, and a first model."""

    def __init__(self, rig: Rig, index: int) -> None:
        settings = {
            "privacy": PLAN,
            "population": sample_job.POPULATION,
            "plan_hash": sample_job.HASH,
            "ledger": "File",
        }
        super().__init__(rig, index, {**settings, "config": {"fail": "slow", "seconds": "6", "fail-round": "1"}})
        sample_job.reserve(self.paths, self.config)
        self.paths.check_config.write_text(self.config.check().model_dump_json(by_alias=True, exclude_none=True))
        command = [sys.executable, "-m", "hanse.runtime.trainer", "check", "--root", str(self.paths.root)]
        subprocess.run(command, check=True)
        self.outbox = Outbox(self.paths.state / "outbox")

    def book(self) -> Book:
        """The ledger, read afresh."""
        return sample_job.book_of(self.paths)

    def opened(self) -> int:
        account = sample_job.account(self.paths, self.config)
        return account.epoch if account is not None else 0

    def paid(self) -> dict[str, str]:
        """Digest of each paid slot."""
        account = sample_job.account(self.paths, self.config)
        return {} if account is None else {key: release.digest for key, release in account.releases.items()}

    def stored(self) -> bytes:
        """The bytes of the first release, once they are on disk."""
        found = wait_for(lambda: self.outbox.get(FIRST), "the gate to store its bytes", WAIT)
        return bytes(found.payload)


def start(rig: Rig, driver: Driver, index: int) -> PrivatePod:
    pod = PrivatePod(rig, index)
    pod.start()
    wait_for(lambda: driver.nodes[index] in driver.grid.get_node_ids(), "the node to be online", WAIT)
    return pod


def ask(driver: Driver, index: int) -> list[str]:
    return list(driver.grid.push_messages([driver.message(index, "train", model(4), ttl=600.0)]))


def check_the_end(driver: Driver, pod: PrivatePod, index: int, sent: list[str], before: bytes) -> None:
    """The lost message is answered by a code; the next one by the stored bytes, which are paid for once."""
    pod.start_gate()
    (lost,) = driver.grid.collect(sent, WAIT)
    assert lost.has_error()
    assert lost.error.code == ReplyCode.GATE_RESTARTED
    (reply,) = driver.grid.collect(ask(driver, index), WAIT)
    assert reply.has_content(), reply.error
    left = reply.content.array_records["update"]["grid"].numpy().tobytes()
    assert left == before
    assert pod.paid() == {FIRST.key: digest_of(before)}


def test_killed_between_storing_and_paying(rig: Rig, driver: Driver) -> None:
    pod = start(rig, driver, 0)
    sent = ask(driver, 0)
    wait_for(lambda: pod.opened() == 1, "the gate to open its account", WAIT)
    with pod.book().locked():
        before = pod.stored()
        rig.kill(pod.gate)
    assert pod.paid() == {}
    check_the_end(driver, pod, 0, sent, before)


def test_killed_between_paying_and_sending(rig: Rig, driver: Driver) -> None:
    pod = start(rig, driver, 1)
    sent = ask(driver, 1)
    wait_for(lambda: pod.opened() == 1, "the gate to open its account", WAIT)
    link = rig.processes["superlink"].pid
    with pod.book().locked():
        before = pod.stored()
        os.killpg(link, signal.SIGSTOP)
    try:
        wait_for(lambda: pod.paid() == {FIRST.key: digest_of(before)}, "the gate to pay", WAIT)
        rig.kill(pod.gate)
    finally:
        os.killpg(link, signal.SIGCONT)
    check_the_end(driver, pod, 1, sent, before)
