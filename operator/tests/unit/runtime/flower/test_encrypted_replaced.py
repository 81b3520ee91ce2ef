"""Gates whose pods are replaced in the middle of a round: no vote in it, all rights in the next; and lost keys."""

import pytest

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.runtime.agreement import messages
from hanse.runtime.flower.rounds_fleet import Answer, Question, RunFailedError
from tests.unit.runtime.flower.conftest import Make

pytestmark = pytest.mark.protocol


@pytest.mark.parametrize("kind", [messages.TRAIN, messages.VERIFY, messages.APPLY, messages.EVALUATE])
def test_with_all_needed_one_replaced_gate_costs_no_round(make: Make, kind: str) -> None:
    s = make(rounds=3, quorum=3)
    s.replace_at(kind, 2, 1)
    assert s.run() == Reason.COMPLETED
    assert s.contributed == [3, 3, 3]
    assert len(set(s.stands())) == 1


def test_two_of_three_replaced_in_a_round_cost_that_round(make: Make) -> None:
    s = make(rounds=3, quorum=3)
    s.replace_at(messages.VERIFY, 2, 0, 1)
    assert s.run() == Reason.COMPLETED
    assert s.contributed == [3, 0, 3]
    assert s.last.rounds[1].reasons == {"p0": "SecondSum", "p1": "SecondSum"}
    assert s.clock.seconds < 30


def test_a_quorum_that_lacks_one_vote_goes_on_with_the_next_round(make: Make) -> None:
    """p2 is away for good: nobody waits for its vote in the place of the one that p1's gate has not."""
    s = make(rounds=3, quorum=2, model_release="Never")
    s.replace_at(messages.VERIFY, 2, 1)
    before = s.fleet.before

    def and_away(question: Question, index: int) -> Answer | None:
        if (question.kind, question.number) == (messages.VERIFY, 2):
            s.fleet.online.discard(2)
        return before(question, index)

    s.fleet.before = and_away
    assert s.run() == Reason.COMPLETED
    assert s.contributed == [3, 0, 2]
    assert s.clock.seconds < 30


def test_a_key_that_every_gate_has_lost_is_said_at_once(make: Make) -> None:
    s = make(rounds=3)
    s.replace_at(messages.TRAIN, 2, 0, 1, 2)
    with pytest.raises(RunFailedError) as caught:
        s.run()
    assert caught.value.code == ExitCode.KEY_LOST
    assert "every gate is here, and none holds the job's key" in str(caught.value)
    assert s.clock.seconds < 5
    assert s.last.encryption is not None
    assert s.last.encryption.holders == []


def test_a_gate_that_does_not_answer_may_still_hold_the_key(make: Make) -> None:
    s = make(rounds=3, quorum=2)
    s.replace_at(messages.TRAIN, 2, 0, 1)
    before = s.fleet.before
    silent: list[int] = []

    def and_silent(question: Question, index: int) -> Answer | None:
        if (question.kind, index) == (messages.TRAIN, 2) and question.number == 2 and not silent:
            silent.append(index)
            s.fleet.online.discard(2)
            s.clock.at(s.clock.seconds + 20, lambda: s.fleet.online.add(2))
        return before(question, index)

    s.fleet.before = and_silent
    assert s.run() == Reason.COMPLETED
    assert s.contributed[0] >= 2


def test_a_key_that_all_lost_before_a_quorum_had_it_is_made_anew(make: Make) -> None:
    s = make(rounds=1)
    joins: list[int] = []

    def before(question: Question, index: int) -> Answer | None:
        if question.kind == messages.JOIN and len(joins) < 3:
            joins.append(index)
            if index == 2:
                for gate in range(3):
                    s.replace(gate)
            return Answer(failure=Reason.NOT_CONNECTED) if index else None
        return None

    s.fleet.before = before
    assert s.run() == Reason.COMPLETED
    assert s.contributed == [3]


def test_a_new_server_has_a_state_sealed_that_no_round_has_sealed(make: Make) -> None:
    """Sealed every five rounds: a gate that was replaced while the server was away takes part in the next round."""
    s = make(rounds=4, quorum=2, checkpoint_every_rounds=5)
    s.killed_at(messages.TRAIN, 3)
    s.restart()
    s.replace(2)
    s.run()
    assert s.contributed == [3, 3, 3, 3]
    assert s.fleet.rounds(messages.SEAL) == [(2, (0,))]
    assert len(set(s.stands())) == 1


def test_who_cannot_seal_is_followed_by_the_next(make: Make) -> None:
    s = make(rounds=3, checkpoint_every_rounds=5)
    s.replace_at(messages.TRAIN, 2, 2)
    before = s.fleet.before
    s.fleet.before = lambda q, i: (
        Answer(failure=Reason.GATE_FAILED) if (q.kind, i) == (messages.SEAL, 0) else before(q, i)
    )
    s.run()
    assert s.contributed == [3, 3, 3]
    assert s.fleet.rounds(messages.SEAL) == [(1, (0,)), (1, (1,))]
