"""What a private job's gate refuses: questions that its plan lacks, replies of another form."""

from pathlib import Path

import numpy as np
import pytest

from hanse.api.replies import ReplyCode
from hanse.runtime.gate.build import BadPlan
from hanse.runtime.gate.content import Content, RecordKind, RecordView
from hanse.runtime.gate.filter import Asked
from tests.unit.runtime.gate.private_pod import MODEL, SILO, Pod, answer, code, metrics, moved, record, reply, train


def test_shares_of_noise_do_not_leave_in_the_open(tmp_path: Path) -> None:
    shared = SILO.model_copy(update={"mechanism": "Distributed", "quorum": 2, "collusion_threshold": 0})
    with pytest.raises(BadPlan, match="needs encryption"):
        Pod(tmp_path, shared).gate()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (train(0), ReplyCode.NOT_ALLOWED_IN_REPLY),
        (train(4), ReplyCode.NOT_ALLOWED_IN_REPLY),
        (train(1, kind="train.other"), ReplyCode.NOT_ALLOWED_IN_REPLY),
        (train(1, kind="evaluate"), ReplyCode.STEP_TOO_LARGE),
        (train(1, kind="query.statistics"), ReplyCode.NOT_ALLOWED_IN_REPLY),
        (train(1, kind="query.rows"), ReplyCode.NOT_ALLOWED_IN_REPLY),
        (Asked("train", {}), ReplyCode.NOT_ALLOWED_IN_REPLY),
    ],
)
def test_what_the_plan_does_not_have_is_not_asked_of_the_app(pod: Pod, asked: Asked, expected: ReplyCode) -> None:
    found = code(lambda: pod.gate().before(asked))
    assert found in (expected, ReplyCode.NOT_ALLOWED_IN_REPLY)


@pytest.mark.parametrize(
    ("spoilt", "expected"),
    [
        (reply(moved() | {"head": np.array([1000, np.nan, 5], np.float32)}), ReplyCode.NON_FINITE_UPDATE),
        (reply(moved() | {"head": np.array([1, np.inf, 5], np.float32)}), ReplyCode.NON_FINITE_UPDATE),
        (reply(moved() | {"rows": np.ones(3)}), ReplyCode.UPDATE_MISMATCH),
        (reply({"head": MODEL["head"]}), ReplyCode.UPDATE_MISMATCH),
        (reply(auc=0.5), ReplyCode.NOT_ALLOWED_IN_REPLY),
        (reply(**{"row-42": 1.0}), ReplyCode.NOT_ALLOWED_IN_REPLY),
        (reply(train_loss=[0.5]), ReplyCode.NOT_ALLOWED_IN_REPLY),
        (reply(train_loss=float("nan")), ReplyCode.NON_FINITE_METRIC),
        (reply() | {"c": RecordView(RecordKind.CONFIG, values={"row": "42"})}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        (reply() | {"more": record(MODEL)}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        ({"metrics": metrics(**{"num-examples": 3})}, ReplyCode.UPDATE_MISMATCH),
        ({}, ReplyCode.UPDATE_MISMATCH),
    ],
)
def test_a_reply_of_another_form_is_refused_and_costs_nothing(pod: Pod, spoilt: Content, expected: ReplyCode) -> None:
    gate = pod.gate()
    asked = train()
    gate.before(asked)
    assert code(lambda: gate.after(asked.bare(), spoilt)) == expected
    assert pod.paid() == []


def test_a_second_reply_to_one_question_is_refused(pod: Pod) -> None:
    gate = pod.gate()
    answer(gate, train(), reply())
    assert code(lambda: gate.after(train().bare(), reply(moved(0.02)))) == ReplyCode.NOT_ALLOWED_IN_REPLY
