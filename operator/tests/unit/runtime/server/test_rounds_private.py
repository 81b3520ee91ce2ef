"""The round loop of private and compressed jobs: decoded updates, first models, noised metrics, resume bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanse.api.compression import Compression
from hanse.api.conditions import Reason
from hanse.api.job import Aggregation
from hanse.api.privacy import EvaluationPlan, PrivacyPlan, StatisticsPlan
from hanse.api.runconfig import ServerParticipant
from hanse.runtime.codec import Codec, Layout, PublicSeed
from hanse.runtime.flower.rounds_fleet import Answer, Question, RunFailedError
from hanse.runtime.noise import ReleaseNoise
from hanse.runtime.noise.stream import ChaChaStream
from tests.unit.runtime.server.memory_fleet import honest, initial_arrays, scene


class Killed(BaseException):
    """Stands for kill -9."""


PLAN = PrivacyPlan(
    unit="Silo", adjacency="Replace", epsilon="3", delta="1e-5", clip="1", noise_multipliers=["0.01"] * 4
)
HISTOGRAMS = PLAN.model_copy(
    update={
        "evaluation": EvaluationPlan(noise_multiplier="1", bins=4, every_rounds=2),
        "statistics": StatisticsPlan(noise_multiplier="1", bins=4),
    }
)


def participants(count: int = 3) -> list[ServerParticipant]:
    return [
        ServerParticipant(name=f"p{i}", index=i, public_key=f"k{i}", plan_hash=f"sha256:{i}", expected_batch=10)
        for i in range(count)
    ]


def private(plan: PrivacyPlan | None = PLAN, compression: Compression | None = None) -> Any:
    """Gates that send each weight moved towards index + 1; noise depends on participant and round alone."""

    def behave(question: Question, index: int) -> Answer:
        if question.kind == "query.initial":
            return honest(question, index)
        if question.kind == "query.statistics":
            return Answer(arrays={"features": np.array([[10, 20, 10, 0]] * 2)}, metrics={"num-examples": 40})
        if question.kind == "evaluate":
            scores = np.array([[8, 2, 0, 0], [0, 0, 3, 7]])
            return Answer(arrays={"scores": scores, "loss": np.array([[20, 0, 0, 0]])}, metrics={"num-examples": 20})
        assert question.arrays is not None
        layout = Layout.of(question.arrays)
        codec = Codec.of(layout, PublicSeed(f"sha256:{index}", question.number, 1), plan, compression)
        update = (index + 1 - layout.flatten(question.arrays)) * 0.3
        key = bytes([index + 1, question.number, *bytes(30)])
        noise = ReleaseNoise(ChaChaStream(key)) if plan is not None else None
        return Answer(arrays={"grid": codec.encode(update, noise).message}, metrics={"num-examples": 10})

    return behave


def run(path: Path, plan: PrivacyPlan | None = PLAN, **settings: Any) -> Any:
    compression = settings.get("compression")
    made = scene(path, **({"participants": participants(), "privacy": plan} | settings))
    made.fleet.behaviour = private(plan, compression)
    return made


@pytest.mark.parametrize("strategy", ["FedAvg", "FedProx", "FedAdam", "FedYogi"])
def test_decoded_updates_train_as_plain_ones_do(tmp_path: Path, strategy: Any) -> None:
    s = run(tmp_path, aggregation=Aggregation(strategy=strategy))
    assert s.federation.run() == Reason.COMPLETED
    assert all(r.contributed == 3 for r in s.last.rounds)
    # Clipped to the norm 1 and hardly noised, they all go towards two.
    assert s.federation.state.arrays["w"].mean() > 0.2
    assert s.federation.state.arrays["w"].dtype == np.float32
    assert s.last.rounds[0].bytes == 3 * (4 + 4 * 6)


def test_no_metric_is_asked_for_and_none_is_shown(tmp_path: Path) -> None:
    s = run(tmp_path)
    s.federation.run()
    assert s.fleet.rounds("evaluate") == []
    assert all(r.metrics == {} for r in s.last.rounds)


def test_metrics_come_from_the_sum_of_histograms_in_their_rounds(tmp_path: Path) -> None:
    s = run(tmp_path, HISTOGRAMS)
    s.federation.run()
    assert [number for number, _ in s.fleet.rounds("evaluate")] == [2, 4]
    newest = {n: float(v) for n, v in s.last.rounds[0].metrics.items()}
    assert newest["auc"] == 1.0
    assert newest["accuracy"] == 1.0
    assert newest["loss"] == pytest.approx(0.5)
    statistics = s.federation.state.statistics
    assert statistics["mean"] == pytest.approx([0.375, 0.375])
    assert len(s.fleet.rounds("query.statistics")) == 1


def test_first_models_that_differ_end_the_job(tmp_path: Path) -> None:
    s = run(tmp_path)
    good = s.fleet.behaviour

    def odd(question: Question, index: int) -> Answer:
        if question.kind == "query.initial" and index == 2:
            return Answer(arrays=initial_arrays() | {"w": np.ones(4, np.float32)}, records={"app": {}})
        return good(question, index)

    s.fleet.behaviour = odd
    with pytest.raises(RunFailedError) as caught:
        s.federation.run()
    assert "p0 and p2" in str(caught.value)


@pytest.mark.parametrize(
    "arrays",
    [
        {"grid": np.zeros(3, np.uint8)},
        {"grid": np.zeros(28, np.float64)},
        {"grid": np.zeros(28, np.uint8), "more": np.zeros(1)},
        {"w": np.zeros(4, np.float32), "b": np.zeros(2, np.float32)},
        {},
    ],
)
def test_bytes_of_another_form_are_an_update_mismatch(tmp_path: Path, arrays: Any) -> None:
    s = run(tmp_path, quorum=2)
    good = s.fleet.behaviour

    def odd(question: Question, index: int) -> Answer:
        if question.kind == "train" and index == 1:
            return Answer(arrays=arrays, metrics={"num-examples": 10})
        return good(question, index)

    s.fleet.behaviour = odd
    s.federation.run()
    assert all(r.reasons == {"p1": Reason.UPDATE_MISMATCH} for r in s.last.rounds)


def test_a_resumed_run_makes_the_same_model_bit_for_bit(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", aggregation=Aggregation(strategy="FedAdam"))
    whole.federation.run()
    first = run(tmp_path / "cut", aggregation=Aggregation(strategy="FedAdam"))
    good = first.fleet.behaviour

    def killed(question: Question, index: int) -> Answer:
        if question.kind == "train" and question.number == 3 and index == 1:
            raise Killed
        return good(question, index)

    first.fleet.behaviour = killed
    with pytest.raises(Killed):
        first.federation.run()
    second = run(tmp_path / "cut", aggregation=Aggregation(strategy="FedAdam"))
    second.federation.run()
    assert [n for n, _ in second.fleet.rounds("train")] == [3, 4]
    assert second.last.rounds[0].model_digest == whole.last.rounds[0].model_digest


@pytest.mark.parametrize("bits", [8, 15])
def test_compressed_updates_without_privacy_train_and_are_smaller(tmp_path: Path, bits: Any) -> None:
    s = run(tmp_path, None, compression=Compression(quantization_bits=bits))
    s.federation.run()
    assert s.federation.state.arrays["w"].mean() > 0.5
    assert len(s.fleet.rounds("evaluate")) == 4


def test_personal_layers_stay_as_they_were(tmp_path: Path) -> None:
    s = scene(tmp_path, personal_layers=["b"])

    def behave(question: Question, index: int) -> Answer:
        answer = honest(question, index)
        if question.kind != "train" or answer.arrays is None:
            return answer
        return Answer(arrays={"w": answer.arrays["w"]}, metrics=answer.metrics)

    s.fleet.behaviour = behave
    s.federation.run()
    assert np.array_equal(s.federation.state.arrays["b"], initial_arrays()["b"])
    assert not np.array_equal(s.federation.state.arrays["w"], initial_arrays()["w"])
