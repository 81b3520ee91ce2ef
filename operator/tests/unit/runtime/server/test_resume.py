"""Checkpoint and resume: killed at any round and resumed equals the unbroken run, bit for bit."""

from pathlib import Path
from typing import Any

import pytest

from hanse.api.exitcodes import ExitCode
from hanse.runtime.flower.rounds_fleet import Answer, Question, RunFailedError
from hanse.runtime.flower.rounds_state import checkpoint_file
from tests.unit.runtime.server.memory_fleet import honest, scene, stop

STRATEGIES: list[dict[str, Any]] = [
    {"strategy": "FedAvg"},
    {"strategy": "FedAvg", "weights": "Equal"},
    {"strategy": "FedProx", "proximalMu": "0.1"},
    {"strategy": "FedAdam"},
    {"strategy": "FedYogi", "serverLearningRate": "0.05"},
]


class Killed(BaseException):
    """Stands for kill -9: nothing in between may catch it or tidy up."""


def _killed_in(number: int, kind: str) -> Any:
    def behave(question: Question, index: int) -> Answer:
        if question.number == number and question.kind == kind and index == 1:
            raise Killed
        return honest(question, index)

    return behave


@pytest.mark.parametrize("kind", ["train", "evaluate"])
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("aggregation", STRATEGIES, ids=lambda a: "-".join(a.values()))
def test_killed_and_resumed_equals_the_unbroken_run(
    tmp_path: Path, aggregation: dict[str, Any], number: int, kind: str
) -> None:
    unbroken = scene(tmp_path / "unbroken", rounds=4, aggregation=aggregation)
    unbroken.federation.run()
    broken = scene(tmp_path / "broken", rounds=4, aggregation=aggregation, behaviour=_killed_in(number, kind))
    with pytest.raises(Killed):
        broken.federation.run()
    resumed = scene(tmp_path / "broken", rounds=4, aggregation=aggregation)
    resumed.federation.run()
    assert [n for n, _ in resumed.fleet.rounds()] == list(range(number, 5))
    assert [r.model_digest for r in resumed.last.rounds] == [r.model_digest for r in unbroken.last.rounds]
    assert [r.metrics for r in resumed.last.rounds] == [r.metrics for r in unbroken.last.rounds]
    files = [tmp_path / name / "output/model.safetensors" for name in ("unbroken", "broken")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert resumed.federation.state.random.bit_generator.state == unbroken.federation.state.random.bit_generator.state


def test_only_every_nth_round_is_saved_and_the_last(tmp_path: Path) -> None:
    broken = scene(tmp_path, rounds=6, checkpoint_every_rounds=3, behaviour=_killed_in(6, "train"))
    with pytest.raises(Killed):
        broken.federation.run()
    resumed = scene(tmp_path, rounds=6, checkpoint_every_rounds=3)
    resumed.federation.run()
    assert [n for n, _ in resumed.fleet.rounds()] == [4, 5, 6]
    last = scene(tmp_path, rounds=6)
    last.federation.run()
    assert last.fleet.questions == []


def test_a_run_that_was_stopped_by_its_metric_is_not_trained_on(tmp_path: Path) -> None:
    first = scene(tmp_path, rounds=20, stop_when=stop("auc", ">=", "0.52"))
    first.federation.run()
    second = scene(tmp_path, rounds=20, stop_when=stop("auc", ">=", "0.52"))
    assert second.federation.run() == "StoppedByMetric"
    assert second.fleet.questions == []


def test_a_resumed_run_does_not_wait_for_who_was_missing_before(tmp_path: Path) -> None:
    broken = scene(tmp_path, quorum=2, behaviour=_killed_in(3, "train"))
    broken.fleet.online = {0, 1}
    with pytest.raises(Killed):
        broken.federation.run()
    resumed = scene(tmp_path, quorum=2)
    resumed.fleet.online = {0, 1}
    resumed.federation.run()
    assert resumed.clock.seconds < 1


def test_another_jobs_checkpoint_is_refused(tmp_path: Path) -> None:
    scene(tmp_path).federation.run()
    with pytest.raises(RunFailedError) as caught:
        scene(tmp_path, uid="00000000-0000-4000-8000-000000000002").federation.run()
    assert caught.value.code == ExitCode.CHECKPOINT_INVALID


def test_a_damaged_checkpoint_falls_back_and_two_end_the_job(tmp_path: Path) -> None:
    scene(tmp_path, rounds=3).federation.run()
    file = checkpoint_file(tmp_path / "var/lib/hanse")
    file.write_bytes(file.read_bytes()[:-7])
    resumed = scene(tmp_path, rounds=3)
    resumed.federation.run()
    assert [n for n, _ in resumed.fleet.rounds()] == [3]
    for path in file.parent.iterdir():
        path.write_bytes(b"spoilt")
    with pytest.raises(RunFailedError) as caught:
        scene(tmp_path, rounds=3).federation.run()
    assert caught.value.code == ExitCode.CHECKPOINT_INVALID
