"""Gates of an encrypted job that come late, come back or stay away: key and state from the others, or the end."""

import pytest

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.runtime.agreement import messages
from hanse.runtime.flower.rounds_fleet import Answer, Question, RunFailedError
from tests.unit.runtime.flower.conftest import Make

pytestmark = pytest.mark.protocol


# -- who is not there


def test_starts_with_the_quorum_and_serves_who_comes_late(make: Make) -> None:
    s = make(quorum=2, rounds=4)
    s.fleet.online = {0, 1}

    def before(question: Question, index: int) -> Answer | None:
        if question.kind == messages.TRAIN and question.number == 2:
            s.fleet.online.add(2)
        return None

    s.fleet.before = before
    s.run()
    assert s.contributed == [2, 2, 3, 3]
    assert s.last.rounds[-1].missing == ["p2"]
    assert len(set(s.stands())) == 1
    assert s.last.encryption is not None
    assert s.last.encryption.holders == ["p0", "p1", "p2"]


def test_a_maker_that_is_replaced_before_all_have_joined_takes_its_key_from_who_has(make: Make) -> None:
    s = make(rounds=1)
    joins: list[int] = []

    def before(question: Question, index: int) -> Answer | None:
        if question.kind == messages.JOIN and len(joins) < 3:
            joins.append(index)
            if index == 0:
                s.replace(0)
            if index != 1:
                return Answer(failure=Reason.NOT_CONNECTED)
        return None

    s.fleet.before = before
    assert s.run() == Reason.COMPLETED
    assert s.contributed == [3]


def test_without_the_maker_of_the_key_there_is_no_start(make: Make) -> None:
    s = make(quorum=2)
    s.fleet.online = {1, 2}
    with pytest.raises(RunFailedError) as caught:
        s.run()
    assert caught.value.code == ExitCode.QUORUM_NOT_REACHED
    assert "p0, whose gate makes it" in str(caught.value)
    assert s.clock.seconds < 200


def test_a_gate_that_is_killed_goes_on_from_its_own_files(make: Make) -> None:
    s = make(rounds=4)

    def before(question: Question, index: int) -> Answer | None:
        if question.kind == messages.TRAIN and question.number == 3 and index == 1:
            s.kill(1)
        return None

    s.fleet.before = before
    s.run()
    assert s.contributed == [3, 3, 3, 3]
    assert s.fleet.rounds(messages.RESTORE) == []


@pytest.mark.parametrize("who", [0, 2])
def test_a_gate_whose_pod_is_replaced_gets_key_and_state_from_the_others(make: Make, who: int) -> None:
    s = make(rounds=4, quorum=2)
    s.replace_at(messages.TRAIN, 3, who)
    s.run()
    assert s.contributed == [3, 3, 2, 3]
    assert s.last.rounds[1].reasons == {f"p{who}": "StateMissing"}
    assert len(s.fleet.rounds(messages.RESTORE)) == 1
    assert len(set(s.stands())) == 1


def test_with_all_needed_a_replaced_gate_is_restored_within_the_round(make: Make) -> None:
    s = make(rounds=3)
    s.replace_at(messages.TRAIN, 2, 1)
    s.run()
    assert s.contributed == [3, 3, 3]


def test_a_gate_that_lost_its_models_and_kept_the_key_is_restored(make: Make) -> None:
    s = make(rounds=3)
    lost: list[int] = []

    def before(question: Question, index: int) -> Answer | None:
        if question.kind == messages.TRAIN and question.number == 3 and index == 1 and not lost:
            lost.append(index)
            s.kill(1)
            for path in s.fleet.gates[1].paths.state.rglob("shared-model*"):
                path.unlink()
        return None

    s.fleet.before = before
    s.run()
    assert s.contributed == [3, 3, 3]
    assert len(s.fleet.rounds(messages.RESTORE)) == 1


def test_a_gate_that_needs_the_state_gets_it_sealed_anew(make: Make) -> None:
    """Sealed every five rounds only: without it the third gate could never take part again."""
    s = make(rounds=4, checkpoint_every_rounds=5)
    s.replace_at(messages.TRAIN, 3, 2)
    s.run()
    assert s.contributed == [3, 3, 3, 3]
    assert len(s.fleet.rounds(messages.RESTORE)) == 1


def test_a_sealed_state_that_restored_somebody_is_not_forgotten_because_another_refuses_it(make: Make) -> None:
    """The one that seals it again may be gone by then."""
    s = make(rounds=3)
    replaced: list[int] = []
    refused: list[int] = []
    restored: list[tuple[int, int]] = []

    def before(question: Question, index: int) -> Answer | None:
        if question.kind == messages.TRAIN and (question.number, index) == (2, 0) and not replaced:
            for who in (1, 2):
                replaced.append(who)
                s.replace(who)
        if question.kind == messages.RESTORE:
            restored.append((index, len(s.fleet.rounds(messages.APPLY))))
            if restored[-1][0] == 2 and not refused:
                refused.append(index)
                return Answer(failure=Reason.STATE_REFUSED)
        return None

    s.fleet.before = before
    s.run()
    assert sorted(index for index, _ in restored) == [1, 2, 2]
    assert len({applied for _, applied in restored}) == 1, "nobody was asked to seal it again in between"


def test_who_is_connected_and_cannot_be_restored_is_said_so(make: Make) -> None:
    s = make(rounds=4, quorum=2)

    def before(question: Question, index: int) -> Answer | None:
        if question.kind == messages.TRAIN and (question.number, index) == (3, 0):
            s.replace(2)
        if question.kind == messages.RESTORE and index == 2:
            return Answer(failure=Reason.STATE_REFUSED)
        return None

    s.fleet.before = before
    with pytest.raises(RunFailedError, match=r"p2 \(State(Refused|Missing)\)"):
        s.run()
    newest = s.last.rounds[0]
    assert newest.missing == ["p2"]
    assert newest.reasons["p2"] in ("StateRefused", "StateMissing")


def test_a_key_that_nobody_holds_any_more_ends_the_job(make: Make) -> None:
    s = make(rounds=4, quorum=2)

    def before(question: Question, index: int) -> Answer | None:
        if question.kind == messages.TRAIN and question.number == 2 and index == 0:
            for who in range(3):
                s.replace(who)
            s.fleet.online = {0, 1}
        return None

    s.fleet.before = before
    with pytest.raises(RunFailedError) as caught:
        s.run()
    assert s.last.encryption is not None
    assert s.last.encryption.holders == ["p2"], "who is away may have it, who came back without it has not"
    assert caught.value.code == ExitCode.KEY_LOST
    assert "p0, p1" in str(caught.value)
    assert "missing: p2" in str(caught.value)
    assert s.clock.seconds == pytest.approx(60, abs=5)


def test_the_last_holder_comes_back_in_time(make: Make) -> None:
    s = make(rounds=3, quorum=2)

    gone: list[int] = []

    def before(question: Question, index: int) -> Answer | None:
        if question.kind == messages.TRAIN and question.number == 2 and index == 0 and not gone:
            gone.extend([0, 1])
            s.replace(0)
            s.replace(1)
            s.fleet.online = {0, 1}
            s.clock.at(s.clock.seconds + 30, lambda: s.fleet.online.add(2))
        return None

    s.fleet.before = before
    s.run()
    assert s.contributed[0] == 3
    assert s.contributed[1] >= 2
    assert s.clock.seconds >= 30


def test_the_quorum_is_waited_for_then_the_job_fails_naming_who_is_missing(make: Make) -> None:
    s = make(quorum=3)
    s.fleet.before = lambda q, i: s.fleet.online.discard(2) if (q.kind, q.number) == (messages.TRAIN, 2) else None
    with pytest.raises(RunFailedError) as caught:
        s.run()
    assert caught.value.code == ExitCode.QUORUM_LOST
    assert "p2" in str(caught.value)


def test_on_dropout_fail_ends_the_job(make: Make) -> None:
    s = make(quorum=2, on_dropout="Fail")
    s.fleet.before = lambda q, i: (
        Answer(failure=Reason.APP_ERROR) if (q.kind, q.number, i) == (messages.TRAIN, 2, 1) else None
    )
    with pytest.raises(RunFailedError) as caught:
        s.run()
    assert caught.value.code == ExitCode.PARTICIPANT_DROPPED
    assert "p1 (AppError)" in str(caught.value)


def test_an_app_that_fails_every_time_ends_the_job_soon(make: Make) -> None:
    s = make(quorum=3)
    s.fleet.before = lambda q, i: Answer(failure=Reason.APP_ERROR) if (q.kind, i) == (messages.TRAIN, 1) else None
    with pytest.raises(RunFailedError) as caught:
        s.run()
    assert caught.value.code == ExitCode.QUORUM_LOST
    assert "p1 AppError" in str(caught.value)
    assert s.clock.seconds < 10


def test_who_has_answered_is_not_asked_again_for_the_same_round(make: Make) -> None:
    s = make(rounds=1)
    failed: list[int] = []

    def before(question: Question, index: int) -> Answer | None:
        if question.kind == messages.TRAIN and index == 2 and not failed:
            failed.append(index)
            return Answer(failure=Reason.TRAINER_DIED)
        return None

    s.fleet.before = before
    s.run()
    assert s.fleet.rounds(messages.TRAIN) == [(1, (0, 1, 2)), (1, (2,))]
