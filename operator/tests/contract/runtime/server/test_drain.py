"""A launcher that is told to stop while the SuperLink is not there yet does not make the pod wait."""

import json
import signal
from pathlib import Path

from hanse.api.exitcodes import ExitCode
from tests.contract.runtime.server.rig import Rig, wait_for


def test_a_pod_that_is_drained_before_its_run_has_begun_leaves_at_once(tmp_path: Path) -> None:
    with Rig(tmp_path, 1) as rig:
        rig.start_server()
        launcher = rig.processes["server"].pid
        # It has installed its handlers when it has a child.
        wait_for(lambda: Path(f"/proc/{launcher}/task/{launcher}/children").read_text().strip(), "the aggregator", 60)
        rig.processes["server"].send_signal(signal.SIGTERM)
        assert rig.wait_exit("server", 60) == ExitCode.DRAINED, rig.log("server")
        journal = rig.paths.state / "runs.json"
        assert not journal.exists() or json.loads(journal.read_text())["resumed"] == 0
