"""Encrypted jobs with differential privacy, whose rounds are paid for once; statistics of one without."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from hanse.runtime.aggregation.model import read_model
from hanse.runtime.agreement import messages
from hanse.runtime.flower import wire
from hanse.runtime.gate.frames import Frame, head_of
from hanse.runtime.gate.initial import FILE
from tests.unit.runtime.flower.conftest import Make
from tests.unit.runtime.gate.encrypted_fleet import MODEL, RECORD, SILO
from tests.unit.runtime.gate.encrypted_gate import Gate

pytestmark = pytest.mark.protocol


@pytest.mark.parametrize("plan", [SILO, RECORD], ids=["silo", "record"])
def test_rounds_with_noise_count_and_gates_agree(make: Make, plan: object) -> None:
    s = make(rounds=5, privacy=plan)
    s.run()
    assert s.contributed == [3] * 5
    assert len(set(s.stands())) == 1
    assert all(r.metrics == {} for r in s.last.rounds)
    assert s.fleet.rounds(messages.EVALUATE) == []
    assert len(s.job.paid("p0")) == 5


def test_a_round_that_is_cut_off_is_paid_for_once(make: Make) -> None:
    s = make(rounds=5, privacy=SILO)
    s.killed_at(messages.APPLY, 2, index=None)
    s.restart()
    s.run()
    assert s.contributed == [3] * 5
    assert len(s.job.paid("p1")) == 5


def test_statistics_of_a_job_without_noise_are_collected_and_sent_along(make: Make) -> None:
    """Three gates with other means; what they train on, and what the model's file says, is the mean of all."""
    s = make(rounds=2)
    heard: list[dict[str, object]] = []
    for index, gate in enumerate(s.fleet.gates):
        wants_statistics(gate)
        gate._app = app_of(gate._app, float(index), heard)  # type: ignore[assignment,method-assign]
    s.run()
    assert s.contributed == [3, 3]
    assert s.fleet.rounds("query.statistics") == [(0, (0, 1, 2))]
    assert heard == [{"mean": [1.0], "scale": [pytest.approx(np.sqrt(1 + 2 / 3))]}] * 6
    _, metadata = read_model(s.root / "server/output/model.safetensors")
    assert json.loads(metadata["statistics"])["features"] == ["age"]


def wants_statistics(gate: Gate) -> None:
    """The app says so beside its first model."""
    frame = gate.paths.initial / FILE
    arrays = ArrayRecord({name: Array(array) for name, array in MODEL.items()})
    blobs = wire.pack(RecordDict({"arrays": arrays, "app": ConfigRecord({"statistics": True, "model": "{}"})}))
    frame.write_bytes(b"".join([head_of(Frame("initial", {}, blobs)), *blobs]))


def app_of(
    train: Callable[[str, RecordDict], RecordDict], mean: float, heard: list[dict[str, object]]
) -> Callable[[str, RecordDict], RecordDict]:
    """The app of one participant, with records of one feature around `mean`."""

    def app(kind: str, content: RecordDict) -> RecordDict:
        if kind == "query.statistics":
            values = np.array([mean - 1, mean + 1])
            sums = MetricRecord({"count": 2})
            sums["sum"], sums["sum-squares"] = [float(values.sum())], [float(np.square(values).sum())]
            schema = ConfigRecord({"features": ["age"], "label": "default"})
            return RecordDict({"statistics": sums, "schema": schema})
        if kind == messages.TRAIN:
            heard.append(dict(content.config_records["statistics"]))
        return train(kind, content)

    return app
