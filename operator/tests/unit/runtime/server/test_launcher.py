"""The launcher and a real process in the aggregator's place: how it is drained, and whose word an end is."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hanse.api.exitcodes import ExitCode
from hanse.api.participation import JobRef
from hanse.api.paths import Paths
from hanse.api.runconfig import RunConfig, ServerParticipant
from hanse.runtime.flower.events import PIPE_VARIABLE
from hanse.runtime.progress import ProgressHub
from hanse.runtime.server.children import Child, Supervisor
from hanse.runtime.server.journal import Journal
from hanse.runtime.server.launcher import Launcher

#: Says that it is ready; told to stop, it looks for what a kubelet that kills us now would leave behind.
_DRAINED = """
trap 'grep -q disruption "{journal}" && exit 78; exit 1' TERM
echo ready >/proc/self/fd/$HANSE_EVENTS
while :; do sleep 0.02; done
"""


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    numbers = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    yield Supervisor()
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def _launcher(root: Path, supervisor: Supervisor) -> Launcher:
    paths = Paths(root)
    paths.shared.mkdir(parents=True)
    config = RunConfig(
        job=JobRef(namespace="n", name="j", uid="00000000-0000-4000-8000-000000000001"),
        client_app="a:b",
        participants=[ServerParticipant(name="p", index=0, public_key="k")],
        quorum=1,
        rounds=9,
    )
    launcher = Launcher(paths, config, "pod", supervisor, Journal(paths, "u"), ProgressHub(paths, config, "pod"))
    launcher.journal.begin(7, "pod")
    return launcher


def _spawn(supervisor: Supervisor, script: str) -> Child:
    return supervisor.spawn(["/bin/sh", "-c", script], os.environ, PIPE_VARIABLE)


def test_a_drain_is_on_disk_before_the_aggregator_hears_of_it(tmp_path: Path, supervisor: Supervisor) -> None:
    launcher = _launcher(tmp_path, supervisor)
    child = _spawn(supervisor, _DRAINED.format(journal=launcher.paths.state / "runs.json"))
    while not child.lines():
        supervisor.wait(child, 1)
    supervisor.stopping = True
    assert launcher._watch(child) == ExitCode.DRAINED


def test_exit_code_0_alone_completes_nothing(tmp_path: Path, supervisor: Supervisor) -> None:
    launcher = _launcher(tmp_path, supervisor)
    assert launcher._verdict(launcher._watch(_spawn(supervisor, "exit 0"))) == ExitCode.SERVER_APP_FAILED
    told = launcher.hub.newest.model_copy(update={"phase": "Complete"}).to_json()
    (tmp_path / "told").write_text(told + "\n")
    child = _spawn(supervisor, f"cat {tmp_path}/told >/proc/self/fd/$HANSE_EVENTS")
    assert launcher._verdict(launcher._watch(child)) == ExitCode.COMPLETE
