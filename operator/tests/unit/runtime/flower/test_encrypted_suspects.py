"""A participant whose ciphertexts spoil the sum: who is left out, round by round, until the job goes on without it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.runtime.agreement import messages
from hanse.runtime.flower.rounds_fleet import Answer, Question, RunFailedError
from hanse.runtime.flower.rounds_suspects import left_out, still_suspect
from tests.unit.runtime.flower.conftest import Make
from tests.unit.runtime.flower.gates import Killed, Scene

pytestmark = pytest.mark.protocol


def spoiling(s: Scene, *culprits: str, first: int = 1, last: int = 99) -> None:
    """No gate can read a sum in which one of the culprits is (as with the real engine: `test_encrypted_rounds`)."""

    def before(question: Question, index: int) -> Answer | None:
        if question.kind != messages.APPLY or not first <= question.number <= last:
            return None
        request = messages.ApplyRequest.model_validate_json(str(question.configs[messages.RECORD][messages.TEXT]))
        made_up = any(one.participant in culprits for one in request.contributions)
        return Answer(failure=Reason.SUM_REFUSED) if made_up else None

    s.fleet.before = before


@pytest.mark.parametrize("culprit", [0, 1, 2])
def test_the_job_goes_on_without_who_spoils_its_sums(make: Make, culprit: int) -> None:
    s = make(rounds=7, quorum=2)
    spoiling(s, f"p{culprit}")
    assert s.run() == Reason.COMPLETED
    voids = s.contributed.count(0)
    assert voids <= 3
    assert s.contributed[voids + 1 :] == [2] * (6 - voids)
    newest = s.last.rounds[0]
    assert (newest.missing, newest.reasons) == ([f"p{culprit}"], {f"p{culprit}": "SumRefused"})
    if culprit:  # the first one is left out by luck
        assert any("all such sums had updates of p1, p2" in p.message for p in s.published)


def test_who_is_left_out_still_votes_and_applies(make: Make) -> None:
    s = make(rounds=3, quorum=2)
    spoiling(s, "p0")
    s.run()
    assert len(set(s.stands())) == 1
    for kind, who in ((messages.TRAIN, {1, 2}), (messages.VERIFY, {0, 1, 2}), (messages.APPLY, {0, 1, 2})):
        assert {index for number, to in s.fleet.rounds(kind) for index in to if number == 3} == who


def test_who_stops_spoiling_is_taken_again(make: Make) -> None:
    s = make(rounds=6, quorum=2)
    spoiling(s, "p2", last=1)
    s.run()
    assert s.contributed[0] == 0
    # One after the other is left out, and none of them was missed.
    assert s.contributed[1:] == [2, 2, 2, 2, 2]
    assert s.federation.state.saved.suspects == ["p0"]


def test_with_a_quorum_of_all_the_job_ends_and_says_why(make: Make) -> None:
    s = make(rounds=9, quorum=3)
    spoiling(s, "p1")
    with pytest.raises(RunFailedError) as caught:
        s.run()
    assert caught.value.code == ExitCode.MODEL_MISMATCH
    assert "one of the updates of p0, p1, p2 is ill-made; with a quorum of all nobody can be left out" in str(
        caught.value
    )
    assert s.contributed == [0, 0, 0]


def test_two_who_take_turns_end_the_job(make: Make) -> None:
    s = make(rounds=9, quorum=2)
    spoiling(s, "p0", "p1")
    with pytest.raises(RunFailedError) as caught:
        s.run()
    assert caught.value.code == ExitCode.MODEL_MISMATCH


def test_where_the_rest_falls_short_the_suspects_updates_are_taken(make: Make) -> None:
    s = make(rounds=3, quorum=2)
    spoiling(s, "p0", last=1)
    spoiled = s.fleet.before

    def before(question: Question, index: int) -> Answer | None:
        if (question.kind, question.number, index) == (messages.TRAIN, 2, 2):
            return Answer(failure=Reason.APP_ERROR)
        return spoiled(question, index)

    s.fleet.before = before
    assert s.run() == Reason.COMPLETED
    assert s.contributed[1] == 2
    assert s.last.rounds[1].missing == ["p2"]


def test_a_new_server_remembers_whom_it_suspects(make: Make) -> None:
    s = make(rounds=4, quorum=2)
    spoiling(s, "p2")
    spoiled = s.fleet.before

    def before(question: Question, index: int) -> Answer | None:
        if (question.kind, question.number) == (messages.TRAIN, 3):
            raise Killed
        return spoiled(question, index)

    s.fleet.before = before
    with pytest.raises(Killed):
        s.run()
    known = s.federation.state.saved.suspects
    s.restart()
    spoiling(s, "p2")
    assert s.federation.state.restore()
    assert s.federation.state.saved.suspects == known == ["p1", "p2"]


@given(st.integers(2, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(n // 2 + 1, n), st.integers(0, n - 1))))
def test_one_culprit_is_found_in_few_rounds_and_never_without_a_quorum(job: tuple[int, int, int]) -> None:
    count, quorum, culprit = job
    names = [f"p{index}" for index in range(count)]
    suspects: list[str] = []
    sizes, spoiled = [count + 1], False
    for _ in range(2 * count):
        out = left_out(suspects, names, quorum, again=spoiled)
        assert count - len(out) >= quorum
        listed = [name for name in names if name not in out]
        spoiled = names[culprit] in listed
        suspects = still_suspect(suspects, listed) if spoiled else [name for name in suspects if name not in listed]
        assert names[culprit] in suspects
        sizes.append(len(suspects))
    if quorum < count:
        assert suspects == [names[culprit]]
        assert not spoiled
        # One round in two tells something until it is found; all are left out in the other, which is not void.
        assert all(after < before or after == 1 for before, after in zip(sizes, sizes[2:], strict=False))
    else:
        assert len(suspects) == count
