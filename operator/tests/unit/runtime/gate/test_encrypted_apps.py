"""What a hostile app gets out of the gate of an encrypted job: nothing that the table does not have."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanse.api.privacy import PrivacyPlan
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import messages as m
from hanse.runtime.gate.content import Content, RecordKind, RecordView
from hanse.runtime.gate.filter import Asked, Forward
from hanse.runtime.gate.refused import Refused
from tests.unit.runtime.gate.encrypted_fleet import MODEL, SILO, Fleet
from tests.unit.runtime.gate.encrypted_gate import Gate
from tests.unit.runtime.gate.honest_server import Server
from tests.unit.runtime.gate.private_pod import metrics, record


@pytest.fixture(params=[None, SILO], ids=["open", "silo"])
def gate(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Gate]:
    privacy: PrivacyPlan | None = request.param
    fleet = Fleet(tmp_path, privacy=privacy, scheme="CKKS", personal_layers=["own*"], model=MODEL | {"own": OWN})
    Server(fleet).keys()
    yield fleet.gate["bank-a"]
    fleet.close()


OWN = np.ones(2, np.float32)


def config(**values: Any) -> RecordView:
    return RecordView(RecordKind.CONFIG, values=values)


def train(number: int = 1) -> Asked:
    text = m.TrainRequest(attempt=1).to_text()
    return Asked(m.TRAIN, {m.RECORD: config(**{m.TEXT: text}), "config": config(**{"server-round": number})})


def evaluate() -> Asked:
    text = m.EvaluateRequest().to_text()
    return Asked(m.EVALUATE, {m.RECORD: config(**{m.TEXT: text}), "config": config(**{"server-round": 1})})


def reply(**changes: Any) -> dict[str, RecordView]:
    arrays = {name: value + np.float32(0.01) for name, value in (MODEL | {"own": OWN}).items()}
    return {"arrays": record({**arrays, **changes}), "metrics": metrics(**{"num-examples": 3})}


def answered(gate: Gate, asked: Asked, given: Content) -> Content:
    assert isinstance(gate.running.before(asked), Forward)
    return gate.running.after(asked.bare(), given)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"arrays": record({"head": MODEL["head"]})}, ReplyCode.UPDATE_MISMATCH),
        (reply(rows=np.ones(3)), ReplyCode.UPDATE_MISMATCH),
        (reply(head=np.ones(4, np.float32)), ReplyCode.UPDATE_MISMATCH),
        (reply(head=np.ones(3, np.float64)), ReplyCode.UPDATE_MISMATCH),
        (reply(head=np.array([1, np.nan, 2], np.float32)), ReplyCode.NON_FINITE_UPDATE),
        (reply(own=np.array([1, np.inf], np.float32)), ReplyCode.NON_FINITE_UPDATE),
        (reply() | {"more": record({"x": np.ones(1)})}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        (reply() | {"words": config(row="42")}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        (reply() | {"metrics": metrics(**{"num-examples": "three"})}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        ({"metrics": metrics(**{"num-examples": 3})}, ReplyCode.UPDATE_MISMATCH),
    ],
)
def test_an_update_of_another_form_does_not_leave(gate: Gate, given: Content, code: ReplyCode) -> None:
    with pytest.raises(Refused) as caught:
        answered(gate, train(), given)
    assert caught.value.code is code
    assert isinstance(gate.running.before(train()), Forward), "nothing was stored"


def test_personal_layers_stay_and_come_back_with_the_next_training(gate: Gate) -> None:
    left = answered(gate, train(), reply(own=np.full(2, 7, np.float32)))
    assert left.keys() == {m.RECORD, m.UPDATE, "metrics"}
    forward = gate.running.before(train(2))
    assert isinstance(forward, Forward)
    arrays = forward.records["arrays"].arrays
    assert list(arrays) == list(MODEL | {"own": OWN}), "in the model's own order"
    assert arrays["own"].data.endswith(np.full(2, 7, "<f4").tobytes())


def test_what_an_app_says_of_its_training_does_not_leave(gate: Gate) -> None:
    given = reply() | {"metrics": metrics(**{"num-examples": 3, "train_loss": 0.123456789})}
    left = answered(gate, train(), given)
    assert left["metrics"].values == {"num-examples": 100}
    assert "0.123456789" not in str({name: each.values for name, each in left.items()})


@pytest.mark.parametrize("given", [{"arrays": record(MODEL)}, {"words": config(row="42")}])
def test_an_evaluation_brings_out_no_arrays_and_no_words(gate: Gate, given: Content) -> None:
    with pytest.raises(Refused):
        answered(gate, evaluate(), given)


def test_statistics_pass_without_privacy_alone(gate: Gate) -> None:
    asked, sums = Asked("query.statistics", {}), {"statistics": metrics(count=3, sums=[1.0, 2.0])}
    if gate.config.privacy is not None:
        with pytest.raises(Refused):
            gate.running.before(asked)
        return
    assert answered(gate, asked, sums) == sums
    with pytest.raises(Refused):
        answered(gate, asked, sums | {"arrays": record(MODEL)})


def test_an_answer_without_a_question_is_refused(gate: Gate) -> None:
    answered(gate, train(), reply())
    with pytest.raises(Refused):
        gate.running.after(train().bare(), reply())
    assert isinstance(gate.running.before(evaluate()) if gate.config.privacy is None else Forward(), Forward)
    with pytest.raises(Refused):
        gate.running.after(train().bare(), reply())
