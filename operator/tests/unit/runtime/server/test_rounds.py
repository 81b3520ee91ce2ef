"""The round loop: start, quorum, dropouts, late joiners, early stop, refusals, the model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.api.paths import Paths
from hanse.runtime.aggregation import Arrays, Update
from hanse.runtime.aggregation.model import read_model
from hanse.runtime.flower.rounds_fleet import Answer, DrainedError, Question, RunFailedError
from hanse.runtime.lost import write_lost
from tests.unit.runtime.server.memory_fleet import failing, honest, scene, statistics, stop


def test_all_rounds_train_and_evaluate_everybody(tmp_path: Path) -> None:
    s = scene(tmp_path)
    assert s.federation.run() == Reason.COMPLETED
    assert s.fleet.rounds("train") == [(n, (0, 1, 2)) for n in (1, 2, 3, 4)]
    assert s.fleet.rounds("evaluate") == s.fleet.rounds("train")
    assert [r.number for r in s.last.rounds] == [4, 3, 2, 1]
    assert all(r.contributed == 3 and not r.missing and not r.reasons for r in s.last.rounds)
    assert {p.name: p.rounds_contributed for p in s.last.participants} == {"p0": 4, "p1": 4, "p2": 4}


def test_metrics_are_record_weighted_means(tmp_path: Path) -> None:
    s = scene(tmp_path, rounds=1)
    s.federation.run()
    arrays = s.federation.state.arrays
    losses = [sum(float(np.square(a - np.float32(i + 1.1)).mean()) for a in arrays.values()) for i in range(3)]
    expected = sum(loss * 10 * (i + 1) for i, loss in enumerate(losses)) / 60
    assert float(s.last.rounds[0].metrics["loss"]) == pytest.approx(expected, rel=1e-6)


def test_the_order_of_arrival_does_not_matter(tmp_path: Path) -> None:
    one, two = scene(tmp_path / "a"), scene(tmp_path / "b")
    two.fleet.reverse = True
    one.federation.run()
    two.federation.run()
    assert [r.model_digest for r in one.last.rounds] == [r.model_digest for r in two.last.rounds]


def test_the_model_is_written_with_its_metadata(tmp_path: Path) -> None:
    s = scene(tmp_path)
    s.federation.run()
    arrays, metadata = read_model(tmp_path / "output/model.safetensors")
    assert all(np.array_equal(arrays[n], a) for n, a in s.federation.state.arrays.items())
    assert metadata["app"] == "a:b"
    model = s.federation.reporter.model
    assert model is not None
    assert model.path == "model.safetensors"
    assert model.bytes == (tmp_path / "output/model.safetensors").stat().st_size


def test_an_output_volume_that_fails_ends_the_job(tmp_path: Path) -> None:
    s = scene(tmp_path, rounds=1)
    (tmp_path / "output").write_text("a file where the volume should be")
    with pytest.raises(RunFailedError) as caught:
        s.federation.run()
    assert caught.value.code == ExitCode.OUTPUT_FAILED


# -- start


def test_waits_for_all_then_starts_with_the_quorum(tmp_path: Path) -> None:
    s = scene(tmp_path, quorum=2)
    s.fleet.online = {0, 1}
    s.federation.run()
    assert s.clock.seconds == pytest.approx(60, abs=0.5)
    assert s.fleet.rounds() == [(n, (0, 1)) for n in (1, 2, 3, 4)]
    assert s.last.rounds[0].missing == ["p2"]
    assert s.last.rounds[0].reasons == {"p2": "NotConnected"}


def test_who_is_lost_for_good_is_not_waited_for(tmp_path: Path) -> None:
    s = scene(tmp_path, quorum=2)
    s.fleet.online = {0, 1}
    paths = Paths(tmp_path)
    paths.shared.mkdir(parents=True)
    s.clock.at(7.0, lambda: write_lost(paths, ["p2"]))
    s.federation.run()
    assert s.clock.seconds == pytest.approx(7, abs=0.5)
    assert s.last.rounds[0].missing == ["p2"]


def test_the_quorum_is_still_waited_for_when_others_are_lost(tmp_path: Path) -> None:
    s = scene(tmp_path, quorum=2)
    s.fleet.online = {0}
    paths = Paths(tmp_path)
    paths.shared.mkdir(parents=True)
    write_lost(paths, ["p2"])
    s.clock.at(20.0, lambda: s.fleet.online.add(1))
    s.federation.run()
    assert s.fleet.rounds()[0] == (1, (0, 1))
    assert s.clock.seconds == pytest.approx(20, abs=0.5)


def test_starts_at_once_when_all_are_there(tmp_path: Path) -> None:
    s = scene(tmp_path)
    s.fleet.online = {0}
    s.clock.at(5, lambda: s.fleet.online.update({1, 2}))
    s.federation.run()
    assert s.clock.seconds == pytest.approx(5, abs=0.5)


def test_below_the_quorum_at_the_start_timeout_the_job_fails(tmp_path: Path) -> None:
    s = scene(tmp_path, quorum=2)
    s.fleet.online = {1}
    with pytest.raises(RunFailedError) as caught:
        s.federation.run()
    assert caught.value.code == ExitCode.QUORUM_NOT_REACHED
    assert "p0" in str(caught.value)
    assert "p2" in str(caught.value)
    assert s.clock.seconds == pytest.approx(60, abs=0.5)


def test_a_late_participant_joins_the_next_round(tmp_path: Path) -> None:
    s = scene(tmp_path, quorum=2)
    s.fleet.online = {0, 1}

    def behave(question: Question, index: int) -> Answer:
        if question.kind == "evaluate" and question.number == 2:
            s.fleet.online.add(2)
        return honest(question, index)

    s.fleet.behaviour = behave
    s.federation.run()
    assert s.fleet.rounds() == [(1, (0, 1)), (2, (0, 1)), (3, (0, 1, 2)), (4, (0, 1, 2))]


# -- dropouts


def test_a_round_without_one_participant_counts_when_the_quorum_is_there(tmp_path: Path) -> None:
    s = scene(tmp_path, quorum=2, behaviour=failing(Reason.TRAINER_DIED, 1, range(2, 3)))
    s.federation.run()
    second = s.last.rounds[-2]
    assert (second.number, second.contributed) == (2, 2)
    assert (second.missing, second.reasons) == (["p1"], {"p1": "TrainerDied"})
    assert s.last.participants[1].rounds_contributed == 3


def test_a_silent_participant_is_missing_with_round_timeout(tmp_path: Path) -> None:
    s = scene(tmp_path, quorum=2, behaviour=failing(None, 0, range(1, 2)))
    s.federation.run()
    assert s.last.rounds[-1].reasons == {"p0": "RoundTimeout"}
    assert float(s.last.rounds[-1].seconds) >= 10


def test_skip_round_repeats_the_round_until_the_quorum_is_back(tmp_path: Path) -> None:
    failures = iter([Reason.TRAINER_DIED, Reason.TRAINER_DIED])

    def behave(question: Question, index: int) -> Answer:
        if index == 1 and question.kind == "train" and question.number == 2 and (reason := next(failures, None)):
            return Answer(failure=reason)
        return honest(question, index)

    s = scene(tmp_path, behaviour=behave)
    assert s.federation.run() == Reason.COMPLETED
    assert [n for n, _ in s.fleet.rounds()] == [1, 2, 2, 2, 3, 4]
    assert [r.number for r in s.last.rounds] == [4, 3, 2, 1]


def test_skip_round_gives_up_after_start_timeout_without_a_quorum(tmp_path: Path) -> None:
    s = scene(tmp_path, behaviour=failing(Reason.TRAINER_DIED, 1, range(2, 99)))
    with pytest.raises(RunFailedError) as caught:
        s.federation.run()
    assert caught.value.code == ExitCode.QUORUM_LOST
    assert 60 <= s.clock.seconds < 70


def test_what_the_app_causes_is_repeated_only_three_times(tmp_path: Path) -> None:
    s = scene(tmp_path, behaviour=failing(Reason.NON_FINITE_UPDATE, 1, range(2, 99)))
    with pytest.raises(RunFailedError) as caught:
        s.federation.run()
    assert caught.value.code == ExitCode.QUORUM_LOST
    assert "p1 NonFiniteUpdate" in str(caught.value)
    assert s.clock.seconds < 10
    assert s.last.participants[1].reason == "NonFiniteUpdate"


def test_who_disconnects_below_the_quorum_is_waited_for(tmp_path: Path) -> None:
    s = scene(tmp_path, on_dropout="Wait")

    def behave(question: Question, index: int) -> Answer:
        if question.kind == "evaluate" and question.number == 1:
            s.fleet.online.discard(2)
            s.clock.at(5_000, lambda: s.fleet.online.add(2))
        return honest(question, index)

    s.fleet.behaviour = behave
    assert s.federation.run() == Reason.COMPLETED
    assert s.clock.seconds >= 5_000
    assert [n for n, _ in s.fleet.rounds()] == [1, 2, 3, 4]


def test_fail_ends_the_job_as_soon_as_anyone_is_missing(tmp_path: Path) -> None:
    s = scene(tmp_path, quorum=1, on_dropout="Fail", behaviour=failing(Reason.TRAINER_DIED, 2, range(2, 3)))
    with pytest.raises(RunFailedError) as caught:
        s.federation.run()
    assert caught.value.code == ExitCode.PARTICIPANT_DROPPED
    assert "p2 (TrainerDied)" in str(caught.value)
    assert s.federation.state.completed == 1


def test_fail_ends_the_job_when_someone_is_not_connected(tmp_path: Path) -> None:
    s = scene(tmp_path, quorum=1, on_dropout="Fail")
    s.fleet.online = {0, 1}
    with pytest.raises(RunFailedError) as caught:
        s.federation.run()
    assert caught.value.code == ExitCode.PARTICIPANT_DROPPED
    assert "p2 (NotConnected)" in str(caught.value)


# -- what is refused


def _spoilt(**changes: Any) -> Any:
    def behave(question: Question, index: int) -> Answer:
        answer = honest(question, index)
        if index == 1 and question.kind == "train" and question.number == 2:
            return Answer(**({"arrays": answer.arrays, "metrics": answer.metrics} | changes))
        return answer

    return behave


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"arrays": {"w": np.full(4, np.nan, np.float32), "b": np.zeros(2, np.float32)}}, "NonFiniteUpdate"),
        ({"arrays": {"w": np.zeros(5, np.float32), "b": np.zeros(2, np.float32)}}, "UpdateMismatch"),
        ({"arrays": {"w": np.zeros(4, np.float64), "b": np.zeros(2, np.float32)}}, "UpdateMismatch"),
        ({"arrays": {"w": np.zeros(4, np.float32)}}, "UpdateMismatch"),
        ({"arrays": None}, "UpdateMismatch"),
        ({"metrics": {"num-examples": 5, "loss": float("inf")}}, "NonFiniteMetric"),
        ({"metrics": {"num-examples": -5}}, "UpdateMismatch"),
        ({"metrics": {}}, "UpdateMismatch"),
    ],
)
def test_a_bad_update_is_refused_for_the_round_by_name(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    s = scene(tmp_path, quorum=2, behaviour=_spoilt(**changes))
    s.federation.run()
    second = s.last.rounds[-2]
    assert (second.missing, second.reasons, second.contributed) == (["p1"], {"p1": reason}, 2)
    assert all(np.isfinite(a).all() for a in s.federation.state.arrays.values())


def test_a_bad_metric_of_the_evaluation_is_left_out_of_the_mean(tmp_path: Path) -> None:
    def behave(question: Question, index: int) -> Answer:
        if question.kind == "evaluate" and index == 0:
            return Answer(metrics={"num-examples": 10, "loss": float("nan")})
        return honest(question, index)

    s = scene(tmp_path, behaviour=behave, rounds=1)
    s.federation.run()
    record = s.last.rounds[0]
    assert (record.contributed, record.missing, record.reasons) == (3, [], {"p0": "NonFiniteMetric"})
    assert np.isfinite(float(record.metrics["loss"]))


class Diverging:
    """A strategy whose second aggregate is not finite."""

    def __init__(self) -> None:
        self._calls = 0

    def train_config(self) -> dict[str, float]:
        return {}

    def aggregate(self, current: Arrays, updates: Sequence[Update]) -> Arrays:
        self._calls += 1
        return {n: a * np.float32(np.nan if self._calls > 1 else 1) for n, a in current.items()}

    def state(self) -> Arrays:
        return {}

    def load_state(self, state: Arrays) -> None: ...


def test_an_aggregate_that_is_not_finite_never_becomes_the_model(tmp_path: Path) -> None:
    s = scene(tmp_path)
    s.federation.state.strategy = Diverging()
    with pytest.raises(RunFailedError) as caught:
        s.federation.run()
    assert caught.value.code == ExitCode.QUORUM_LOST
    assert "not finite" in str(caught.value)
    assert s.federation.state.completed == 1
    assert all(np.isfinite(a).all() for a in s.federation.state.arrays.values())
    assert not (tmp_path / "output/model.safetensors").exists()


# -- initial model and statistics


def test_an_app_without_initial_model_is_told_what_to_do(tmp_path: Path) -> None:
    s = scene(tmp_path, behaviour=failing(Reason.APP_ERROR, 0, range(1), kind="query.initial"))
    with pytest.raises(RunFailedError) as caught:
        s.federation.run()
    assert caught.value.code == ExitCode.SERVER_APP_FAILED
    assert '@app.query("initial")' in str(caught.value)


def test_the_initial_model_comes_from_the_first_that_has_one(tmp_path: Path) -> None:
    s = scene(tmp_path, behaviour=failing(Reason.TRAINER_DIED, 0, range(1), kind="query.initial"))
    s.federation.run()
    assert [to for _, to in s.fleet.rounds("query.initial")] == [(0,), (1,)]


def _tabular(features: dict[int, list[str]]) -> Any:
    def behave(question: Question, index: int) -> Answer:
        if question.kind == "query.initial":
            return Answer(arrays=honest(question, index).arrays, records={"app": {"statistics": True, "model": "{}"}})
        if question.kind == "query.statistics":
            return statistics(features.get(index, ["age", "income"]))
        assert question.configs["statistics"] == {"mean": [1.0, 1.0], "scale": [1.0, 1.0]}
        return honest(question, index)

    return behave


def test_statistics_are_asked_once_and_sent_with_every_message(tmp_path: Path) -> None:
    s = scene(tmp_path, behaviour=_tabular({}))
    s.federation.run()
    assert s.fleet.rounds("query.statistics") == [(0, (0, 1, 2))]
    _, metadata = read_model(tmp_path / "output/model.safetensors")
    assert json.loads(metadata["statistics"])["features"] == ["age", "income"]


def test_two_participants_with_different_features_end_the_job(tmp_path: Path) -> None:
    s = scene(tmp_path, behaviour=_tabular({2: ["age", "wealth"]}))
    with pytest.raises(RunFailedError) as caught:
        s.federation.run()
    assert caught.value.code == ExitCode.FEATURE_MISMATCH
    assert "p0 and p2" in str(caught.value)
    assert "income" in str(caught.value)


def test_who_joins_late_with_other_features_ends_the_job(tmp_path: Path) -> None:
    behave = _tabular({2: ["age"]})
    s = scene(tmp_path, quorum=2, behaviour=behave)
    s.fleet.online = {0, 1}

    def later(question: Question, index: int) -> Answer:
        if question.kind == "evaluate":
            s.fleet.online.add(2)
        answer: Answer = behave(question, index)
        return answer

    s.fleet.behaviour = later
    with pytest.raises(RunFailedError) as caught:
        s.federation.run()
    assert caught.value.code == ExitCode.FEATURE_MISMATCH


# -- the end


def test_stop_when_ends_the_run_early(tmp_path: Path) -> None:
    s = scene(tmp_path, rounds=20, stop_when=stop("auc", ">=", "0.53"))
    assert s.federation.run() == Reason.STOPPED_BY_METRIC
    assert s.federation.state.completed == 3
    assert (tmp_path / "output/model.safetensors").exists()


def test_progress_tells_the_phase_the_round_and_the_time_left(tmp_path: Path) -> None:
    s = scene(tmp_path, quorum=2, behaviour=failing(None, 0, range(1, 3)))
    s.federation.run()
    phases = list(dict.fromkeys(p.phase for p in s.published))
    assert phases == ["Starting", "WaitingForParticipants", "Running"]
    after_two = next(p for p in s.published if p.completed == 2)
    assert after_two.eta_seconds == 20


def test_a_drained_run_leaves_its_checkpoint_and_says_nothing_else(tmp_path: Path) -> None:
    s = scene(tmp_path, behaviour=failing(None, 0, range(3, 4)), quorum=2)
    s.clock.at(1, lambda: setattr(s.clock, "drained", True))
    with pytest.raises(DrainedError):
        s.federation.run()
    again = scene(tmp_path)
    again.federation.run()
    assert [n for n, _ in again.fleet.rounds()] == [3, 4]
