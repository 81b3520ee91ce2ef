"""The server pod as it runs: a real SuperLink, the launcher and its aggregator, participants over the fleet API."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hanse.api.exitcodes import ExitCode
from hanse.api.progress import Progress
from hanse.runtime.aggregation.model import read_model
from tests.contract.runtime.server.rig import Rig, wait_for

ROUNDS = 6
pytestmark = pytest.mark.timeout(300)
_PYTHONPATH = str(Path(__file__).parents[4])

OWN_APP = """
import os
from flwr.app import ArrayRecord, Array
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
import numpy as np

app = ServerApp()

@app.main()
def main(grid, context):
    rounds = context.run_config.pop("num-server-rounds")
    assert context.run_config == {"local-epochs": 2, "note": "x"}
    start = ArrayRecord({"w": Array(np.zeros(8, np.float32))})
    result = FedAvg().start(grid=grid, initial_arrays=start, num_rounds=rounds)
    print("own app trained", len(result.arrays), "arrays, node metrics", result.evaluate_metrics_clientapp[rounds])
"""


def _rig(root: Path, **settings: Any) -> Rig:
    return Rig(root, 2, {"rounds": ROUNDS, **settings})


def _start(rig: Rig, *, pod: str = "pod-1") -> None:
    rig.start_superlink()
    rig.start_server(pod)
    for index in range(rig.clients):
        rig.start_node(index)


def _aggregator(rig: Rig) -> int:
    """Process id of the launcher's one child."""
    launcher = rig.processes["server"].pid
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return int(children[0]) if children else 0


def _completed(rig: Rig, count: int) -> Any:
    return wait_for(lambda: (p := rig.progress()) is not None and p.completed >= count, f"round {count}", 150)


def _digests(progress: Progress | None) -> dict[int, str | None]:
    assert progress is not None
    return {record.number: record.model_digest for record in progress.rounds}


def _journal(rig: Rig) -> list[str | None]:
    content = json.loads((rig.paths.state / "runs.json").read_text())
    return [run["end"] for run in content["runs"]]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A run without any incident; the others must bring the same models."""
    with _rig(tmp_path_factory.mktemp("unbroken")) as rig:
        rig.paths.termination_log.touch()
        _start(rig)
        assert rig.wait_exit("server", 150) == ExitCode.COMPLETE, rig.log("server")
        yield rig


def test_a_run_completes_and_says_so_everywhere(unbroken: Rig) -> None:
    progress = unbroken.progress()
    assert progress is not None
    assert (progress.phase, progress.reason, progress.completed, progress.run) == ("Complete", "Completed", ROUNDS, 1)
    assert progress.pod == "pod-1"
    assert Progress.model_validate_json(unbroken.paths.termination_log.read_bytes()) == progress
    assert progress.model is not None
    arrays, _ = read_model(unbroken.paths.output / progress.model.path)
    assert sorted(arrays) == ["b", "w"]
    assert _journal(unbroken) == ["complete"]


def test_the_participants_are_told_the_end(unbroken: Rig) -> None:
    for index in range(2):
        assert unbroken.wait_exit(f"node-{index}") == 0
        assert "end of job" in unbroken.log(f"node-{index}")


def test_the_superexec_secret_is_private(unbroken: Rig) -> None:
    assert (unbroken.paths.shared / "superexec.secret").stat().st_mode & 0o777 == 0o600


def test_a_pod_that_starts_after_the_end_repeats_nothing(unbroken: Rig) -> None:
    before = unbroken.progress()
    unbroken.start_server("pod-2")
    assert unbroken.wait_exit("server") == ExitCode.COMPLETE
    after = unbroken.progress()
    assert before is not None
    assert after is not None
    assert (after.phase, after.rounds, after.model) == ("Complete", before.rounds, before.model)


def test_killed_aggregator_and_killed_superlink_change_nothing_of_the_result(tmp_path: Path, unbroken: Rig) -> None:
    with _rig(tmp_path) as rig:
        _start(rig)
        _completed(rig, 2)
        os.kill(_aggregator(rig), signal.SIGKILL)
        _completed(rig, 3)
        rig.kill("superlink")
        rig.start_superlink()
        assert rig.wait_exit("server", 150) == ExitCode.COMPLETE, rig.log("server")
        progress = rig.progress()
        assert progress is not None
        assert (progress.completed, progress.run, progress.resumed) == (ROUNDS, 2, 1)
        assert _digests(progress) == _digests(unbroken.progress())
        assert _journal(rig) == ["crash", "complete"]


def test_a_drained_pod_does_not_count_and_a_lost_one_does(tmp_path: Path, unbroken: Rig) -> None:
    with _rig(tmp_path) as rig:
        _start(rig)
        _completed(rig, 1)
        rig.processes["server"].send_signal(signal.SIGTERM)
        assert rig.wait_exit("server") == ExitCode.DRAINED
        assert _journal(rig) == ["disruption"]
        rig.start_server("pod-2")
        _completed(rig, 3)
        rig.kill("server")
        rig.start_server("pod-3")
        assert rig.wait_exit("server", 150) == ExitCode.COMPLETE, rig.log("server")
        progress = rig.progress()
        assert progress is not None
        assert (progress.completed, progress.resumed, progress.pod) == (ROUNDS, 1, "pod-3")
        assert _digests(progress) == _digests(unbroken.progress())
        assert _journal(rig) == ["disruption", "lost", "complete"]


def test_over_backoff_limit_the_job_fails_and_the_participants_are_told(tmp_path: Path) -> None:
    with _rig(tmp_path, rounds=500, backoff_limit=0) as rig:
        _start(rig)
        _completed(rig, 1)
        os.kill(_aggregator(rig), signal.SIGKILL)
        assert rig.wait_exit("server", 150) == ExitCode.BACKOFF_LIMIT_EXCEEDED, rig.log("server")
        progress = rig.progress()
        assert progress is not None
        assert (progress.phase, progress.reason) == ("Failed", "BackoffLimitExceeded")
        for index in range(2):
            assert rig.wait_exit(f"node-{index}") == 0


@pytest.mark.parametrize(("own", "done", "says"), [({}, 3, ""), ({"num-server-rounds": "2"}, 2, "after round 2 of 3")])
def test_a_users_own_server_app_runs_on_our_grid(tmp_path: Path, own: dict[str, str], done: int, says: str) -> None:
    """It is told the number of rounds, and the progress is what it did."""
    (tmp_path / "own_app.py").write_text(OWN_APP)
    settings = {"server_app": "own_app:app", "rounds": 3, "config": {"local-epochs": "2", "note": "x", **own}}
    with _rig(tmp_path / "rig", **settings) as rig:
        rig.start_superlink()
        rig.start_server(PYTHONPATH=f"{_PYTHONPATH}:{tmp_path}")
        for index in range(2):
            rig.start_node(index)
        assert rig.wait_exit("server", 150) == ExitCode.COMPLETE, rig.log("server")
        assert "own app trained 1 arrays" in rig.log("server")
        progress = rig.progress()
        assert progress is not None
        assert (progress.phase, progress.completed, progress.total) == ("Complete", done, 3)
        assert says in progress.message
        assert [p.rounds_contributed for p in progress.participants] == [done, done]


def test_a_server_app_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    with _rig(tmp_path, server_app="no_such_module:app") as rig:
        _start(rig)
        assert rig.wait_exit("server", 150) == ExitCode.APP_IMPORT_FAILED, rig.log("server")
        progress = rig.progress()
        assert progress is not None
        assert (progress.phase, progress.reason) == ("Failed", "AppImportFailed")
        assert "no_such_module" in progress.message
