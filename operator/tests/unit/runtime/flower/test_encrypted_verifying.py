"""Who adds up which half of the encrypted updates, and who takes the place of a gate that dies on the way."""

from threading import Event

import pytest

from hanse.api.conditions import Reason
from hanse.runtime.agreement import messages
from hanse.runtime.flower.rounds_fleet import Answer, Question, RunFailedError
from hanse.runtime.he import UploadSum, WorkerLost
from tests.unit.runtime.flower.conftest import Make
from tests.unit.runtime.flower.gates import Killed, Scene

pytestmark = pytest.mark.protocol


def verifiers(s: Scene) -> list[int]:
    """Who got the ciphertexts, round by round."""
    return [index for kind, _, to in s.fleet.heavy if kind == messages.VERIFY for index in to]


def test_each_half_goes_to_one_verifier_more_than_may_lie_and_to_others_in_turn(make: Make) -> None:
    s = make(rounds=3)
    s.run()
    assert verifiers(s) == [0, 1, 0, 2, 1, 2]
    two = make(5, rounds=1, quorum=4, collusion_threshold=1)
    two.run()
    assert two.fleet.heavy_of(messages.VERIFY) == [(0, 1), (2, 3)]


def test_no_gate_is_sent_both_halves_unless_the_plan_has_too_few(make: Make) -> None:
    for quorum, apart in ((4, True), (3, False)):
        s = make(4, rounds=4, quorum=quorum, collusion_threshold=1)
        had: dict[tuple[int, int], set[str]] = {}

        def before(question: Question, index: int) -> Answer | None:
            if half := half_sent(question):
                had.setdefault((question.number, index), set()).add(half)  # noqa: B023 - run in the loop
            return None

        s.fleet.before = before
        s.fleet.online = set(range(quorum))
        s.run()
        assert len(s.contributed) == 4
        assert {len(halves) for halves in had.values()} == ({1} if apart else {1, 2})


def half_sent(question: Question) -> str:
    """Which half a gate is sent; "" for a question without ciphertexts."""
    if question.kind != messages.VERIFY or question.arrays is None:
        return ""
    return str(messages.VerifyRequest.model_validate_json(str(question.configs["he"]["text"])).half)


def test_who_takes_a_dead_verifiers_place_has_had_no_other_half(make: Make) -> None:
    """p1 is done with the seeds and is the next in the order; the bodies go to p2."""
    s = make(rounds=1, quorum=2)
    sent: list[tuple[int, str]] = []

    def before(question: Question, index: int) -> Answer | None:
        if half := half_sent(question):
            sent.append((index, half))
            if index == 0:
                return Answer(failure=Reason.NOT_CONNECTED)
        return None

    s.fleet.before = before
    s.run()
    assert s.contributed == [3]
    assert sent == [(0, "Bodies"), (1, "Seeds"), (2, "Bodies")]


def test_a_server_that_is_killed_keeps_to_who_had_which_half(make: Make) -> None:
    """p2 was sent the bodies in p0's place when the server died; later p1 is gone, and p2 must not stand in for it."""
    s = make(rounds=1, quorum=2)
    sent: list[tuple[int, str]] = []

    def dies_at_p2(question: Question, index: int) -> Answer | None:
        if half := half_sent(question):
            sent.append((index, half))
            if index == 2:
                raise Killed
            if index == 0:
                return Answer(failure=Reason.NOT_CONNECTED)
        return None

    def without_p1(question: Question, index: int) -> Answer | None:
        if half := half_sent(question):
            sent.append((index, half))
            if index == 1:
                s.fleet.online.discard(1)
                return Answer(failure=Reason.NOT_CONNECTED)
        return None

    s.fleet.before = dies_at_p2
    with pytest.raises(Killed):
        s.run()
    assert sent == [(0, "Bodies"), (1, "Seeds"), (2, "Bodies")]
    s.restart()
    s.fleet.before = without_p1
    with pytest.raises(RunFailedError):
        s.run()
    assert set(sent) == {(0, "Bodies"), (1, "Seeds"), (2, "Bodies")}


def test_a_half_that_nobody_is_left_for_voids_the_round(make: Make) -> None:
    """There are votes enough; one has had the bodies, and those who may add up the seeds do not come back."""
    s = make(rounds=2, quorum=2)
    asked: list[int] = []

    def before(question: Question, index: int) -> Answer | None:
        heavy = question.arrays is not None
        if question.kind == messages.VERIFY and question.number == 1 and (index == 1 or (index == 2 and heavy)):
            asked.append(index)
            return Answer(failure=Reason.NOT_CONNECTED)
        return None

    s.fleet.before = before
    s.run()
    assert s.contributed == [0, 3]
    assert set(asked) == {1, 2}
    assert "1 sums of bodies and 0 sums of seeds" in "".join(str(p.message) for p in s.published)


def test_bodies_and_seeds_that_are_not_the_updates_cost_its_sender_alone(make: Make) -> None:
    """The gates sign what they send; a server that did not look would lose the round to one of them."""
    s = make(rounds=1, quorum=2)

    def after(question: Question, index: int, answer: Answer) -> Answer:
        if question.kind == messages.TRAIN and index == 2:
            one = messages.TrainReply.model_validate_json(str(answer.records["he"]["text"])).contribution
            fields = one.model_dump(exclude={"agreement", "participant", "signature", "bodies", "seeds"})
            lie = s.job.signer("p2").contribution(**fields, halves={"Bodies": one.digest, "Seeds": one.seeds})
            return Answer(
                answer.arrays, answer.metrics, {"he": {"text": messages.TrainReply(contribution=lie).to_text()}}
            )
        return answer

    s.fleet.after = after
    s.run()
    assert s.contributed == [2]
    assert s.last.rounds[0].reasons == {"p2": "CiphertextInvalid"}


# -- the server's own sum


def test_gates_verify_while_the_server_adds(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's sum is not there before the last gate has been asked, and the round ends alike."""
    s, total = make(rounds=1), UploadSum.total
    asked = Event()

    def waits(adding: UploadSum) -> bytes:
        assert asked.wait(60), "nobody is asked to verify before the sum is there"
        return total(adding)

    def after(question: Question, index: int, answer: Answer) -> Answer:
        if question.kind == messages.VERIFY and index == 2:
            asked.set()
        return answer

    monkeypatch.setattr(UploadSum, "total", waits)
    s.fleet.after = after
    s.run()
    assert s.contributed == [3]
    assert len(set(s.stands())) == 1


def test_a_server_whose_sum_is_another_than_the_verifiers_asks_nobody_to_apply_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    s, total = make(rounds=1), UploadSum.total

    def other(adding: UploadSum) -> bytes:
        made = bytearray(total(adding))
        made[-8] ^= 1
        return bytes(made)

    monkeypatch.setattr(UploadSum, "total", other)
    with pytest.raises(RunFailedError):
        s.run()
    assert s.contributed == [0]
    assert s.fleet.rounds(messages.APPLY) == []


def test_a_server_that_loses_its_sum_goes_on_with_the_same_list(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    s = make(rounds=1, quorum=2)

    def lost(adding: UploadSum) -> bytes:
        raise WorkerLost("the process died")

    with monkeypatch.context() as patched:
        patched.setattr(UploadSum, "total", lost)
        with pytest.raises(WorkerLost):
            s.run()
    decided = s.federation.state.saved.pending
    assert decided is not None
    s.restart()
    s.run()
    assert s.contributed == [3]


# -- who dies while the list is agreed on


@pytest.mark.parametrize("reason", [Reason.GATE_RESTARTED, Reason.ROUND_TIMEOUT, Reason.NOT_CONNECTED])
def test_a_verifier_that_dies_is_replaced_by_the_next(make: Make, reason: Reason) -> None:
    s = make(rounds=2)

    def before(question: Question, index: int) -> Answer | None:
        if question.kind == messages.VERIFY and question.number == 1 and index == 0:
            return Answer(failure=reason)
        return None

    s.fleet.before = before
    s.run()
    assert s.contributed == [3, 3]
    assert verifiers(s)[:3] == [0, 1, 2]


def test_a_verifier_that_computes_another_sum_is_replaced(make: Make) -> None:
    s = make(rounds=1)

    def after(question: Question, index: int, answer: Answer) -> Answer:
        if question.kind == messages.VERIFY and index == 0:
            reply = messages.VerifyReply.model_validate_json(str(answer.records["he"]["text"]))
            assert reply.recomputed is not None
            signer = s.job.signer("p0")
            lie = signer.recomputed(1, reply.vote.list_digest, "Bodies", "sha256:" + "0" * 64)
            text = reply.model_copy(update={"recomputed": lie}).to_text()
            return Answer(answer.arrays, answer.metrics, {"he": {"text": text}})
        return answer

    s.fleet.after = after
    s.run()
    assert s.contributed == [3]
    assert verifiers(s)[:3] == [0, 1, 2]


def test_who_is_asked_to_seal_and_dies_is_replaced(make: Make) -> None:
    s = make(rounds=1)
    died: list[int] = []

    def before(question: Question, index: int) -> Answer | None:
        text = str(question.configs.get("he", {}).get("text"))
        if question.kind == messages.APPLY and '"seal":true' in text and not died:
            died.append(index)
            return Answer(failure=Reason.GATE_RESTARTED)
        return None

    s.fleet.before = before
    s.run()
    assert s.contributed == [3]
    assert s.federation.state.saved.sealed is not None
