"""Encrypted jobs with differential privacy: noise in the gates, noised histograms, what is paid for once."""

import pytest

from hanse.runtime.agreement import messages
from hanse.runtime.flower.rounds_fleet import Answer, Question
from tests.unit.runtime.flower.conftest import Make
from tests.unit.runtime.flower.gates import Killed
from tests.unit.runtime.gate.encrypted_fleet import RECORD, SILO


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

    def before(question: Question, index: int) -> Answer | None:
        if (question.kind, question.number) == (messages.APPLY, 2):
            raise Killed
        return None

    s.fleet.before = before
    with pytest.raises(Killed):
        s.run()
    s.restart()
    s.run()
    assert s.contributed == [3] * 5
    assert len(s.job.paid("p1")) == 5
