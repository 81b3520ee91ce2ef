"""Which global models a private job's gate takes from the server."""

from typing import Any

import numpy as np
import pytest

from hanse.api.replies import ReplyCode
from tests.unit.runtime.gate.private_pod import MODEL, Pod, answer, code, moved, reply, train


def test_a_first_model_that_was_not_made_here_is_refused(pod: Pod) -> None:
    changed = MODEL | {"head": np.full(3, 1e-6, np.float32)}
    assert code(lambda: pod.gate().before(train(1, changed))) == ReplyCode.INITIAL_MODEL_MISMATCH


@pytest.mark.parametrize(
    "changed",
    [
        {n: a for n, a in MODEL.items() if n != "head"},
        MODEL | {"imprint": np.ones(3, np.float32)},
        MODEL | {"head": np.zeros(4, np.float32)},
        MODEL | {"head": np.zeros(3, np.float64)},
    ],
)
def test_a_model_of_another_form_is_refused(pod: Pod, changed: dict[str, Any]) -> None:
    assert code(lambda: pod.gate().before(train(1, changed))) == ReplyCode.INITIAL_MODEL_MISMATCH


def test_a_model_steps_as_far_as_honest_rounds_do_and_no_further(pod: Pod) -> None:
    gate = pod.gate()
    answer(gate, train(), reply())
    imprint = MODEL | {"layer.weight": np.full((8, 5), 1e4, np.float32)}
    assert code(lambda: gate.before(train(2, imprint))) == ReplyCode.STEP_TOO_LARGE
    assert code(lambda: gate.before(train(2, MODEL | {"head": np.full(3, np.nan, np.float32)}))) == (
        ReplyCode.STEP_TOO_LARGE
    )
    answer(gate, train(2, moved()), reply())
    assert code(lambda: pod.gate().before(train(3, imprint))) == ReplyCode.STEP_TOO_LARGE
    assert pod.paid() == ["Train-1-1", "Train-2-1"]


def test_another_model_for_a_paid_round_is_refused(pod: Pod) -> None:
    gate = pod.gate()
    answer(gate, train(), reply())
    answer(gate, train(2, moved()), reply())
    assert code(lambda: gate.before(train(2, moved(0.02)))) == ReplyCode.ALREADY_RELEASED
