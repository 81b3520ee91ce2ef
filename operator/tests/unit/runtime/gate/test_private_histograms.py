"""Counts for statistics and evaluation: how they leave a private job's gate."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanse.api.privacy import EvaluationPlan, PrivacyPlan, StatisticsPlan
from hanse.api.replies import ReplyCode
from hanse.runtime.gate.content import Content
from hanse.runtime.gate.filter import Asked, Ready
from hanse.runtime.gate.histograms import evaluation_histograms
from hanse.runtime.gate.npy import read_array
from hanse.runtime.gate.refused import Refused
from tests.unit.runtime.gate.private_pod import PLAIN, RECORD, Pod, answer, code, metrics, moved, record, reply, train

COUNTED = RECORD.model_copy(
    update={
        "statistics": StatisticsPlan(noise_multiplier="5", bins=4),
        "evaluation": EvaluationPlan(noise_multiplier="5", bins=8, every_rounds=2),
    }
)


def counting(tmp_path: Path, plan: PrivacyPlan = COUNTED) -> Pod:
    return Pod(tmp_path, plan, model=PLAIN)


def plain_reply() -> Content:
    return reply({name: moved()[name] for name in PLAIN})


def plain(by: float = 0.01) -> dict[str, Any]:
    return {name: moved(by)[name] for name in PLAIN}


def scores(value: int = 10) -> Content:
    return {
        "histograms": record({"scores": np.full((2, 8), value, np.int64), "loss": np.full((1, 8), value, np.int64)})
    }


def test_counts_leave_with_noise_and_the_declared_number_of_records(tmp_path: Path) -> None:
    pod = counting(tmp_path)
    gate = pod.gate()
    counts = np.full((2, 4), 25, np.int64)
    asked = Asked("query.statistics", {})
    left = answer(gate, asked, {"histograms": record({"features": counts})})
    found = read_array("features", left["histograms"].arrays["features"])
    assert found.shape == (2, 4)
    assert (found != counts).any()
    assert left["metrics"].values == {"num-examples": 100}
    again = gate.before(asked)
    assert isinstance(again, Ready)
    assert again.content == left
    assert pod.paid() == ["Statistics-0-1"]


def test_evaluation_leaves_in_its_rounds_alone(tmp_path: Path) -> None:
    pod = counting(tmp_path)
    gate = pod.gate()
    answer(gate, train(1, PLAIN), plain_reply())
    assert code(lambda: gate.before(train(1, plain(), "evaluate"))) == ReplyCode.NOT_ALLOWED_IN_REPLY
    answer(gate, train(2, plain()), plain_reply())
    left = answer(gate, train(2, plain(), "evaluate"), scores())
    assert left.keys() == {"histograms", "metrics"}
    assert pod.paid() == ["Train-1-1", "Train-2-1", "Evaluate-2-1"]


@pytest.mark.parametrize(
    "spoilt",
    [
        {"histograms": record({"scores": np.zeros((2, 9), np.int64), "loss": np.zeros((1, 8), np.int64)})},
        {"histograms": record({"scores": np.zeros((2, 8), np.float64), "loss": np.zeros((1, 8), np.int64)})},
        {"histograms": record({"scores": np.zeros((2, 8), np.int64)})},
        {"metrics": metrics(**{"num-examples": 3, "auc": 0.5})},
        scores() | {"metrics": metrics(auc=0.5)},
    ],
)
def test_an_evaluation_of_another_form_is_refused(tmp_path: Path, spoilt: Content) -> None:
    every = EvaluationPlan(noise_multiplier="5", bins=8, every_rounds=1)
    pod = counting(tmp_path, COUNTED.model_copy(update={"evaluation": every}))
    gate = pod.gate()
    asked = train(1, plain(), "evaluate")
    gate.before(asked)
    with pytest.raises(Refused):
        gate.after(asked.bare(), spoilt)
    assert pod.paid() == []


@pytest.mark.parametrize(("unit", "sensitivity"), [("Record", np.sqrt(2)), ("Silo", 2 * 100 * np.sqrt(2))])
def test_counts_are_bounded_and_noised_by_their_sensitivity(unit: Any, sensitivity: float) -> None:
    drawn: list[tuple[float, int]] = []

    class Silent:
        def draw(self, sigma: float, count: int) -> Any:
            drawn.append((sigma, count))
            return np.zeros(count, np.int64)

    form = evaluation_histograms(8, unit, records=100)
    hostile = {"scores": np.full((2, 8), 1 << 40, np.int64), "loss": np.full((1, 8), -5, np.int64)}
    found = form.unpack(form.release(hostile, 3.0, Silent()))
    assert drawn == [(pytest.approx(3.0 * sensitivity), 24)]
    assert found["loss"].min() == 0
    assert found["scores"].max() <= 100
    if unit == "Silo":
        assert np.linalg.norm(found["scores"]) <= 100 * np.sqrt(2)
