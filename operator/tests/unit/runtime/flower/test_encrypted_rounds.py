"""The encrypted round loop over real gates: keys, rounds, who is left out and why, early stop, the model."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.api.job import Aggregation
from hanse.runtime.aggregation import arrays_digest
from hanse.runtime.aggregation.model import read_model
from hanse.runtime.agreement import messages
from hanse.runtime.agreement.statements import digest_of
from hanse.runtime.flower.rounds_fleet import Answer, DrainedError, Question, RunFailedError
from hanse.runtime.he import split_upload
from tests.unit.runtime.flower.conftest import Make
from tests.unit.runtime.flower.gates import Killed, Scene, encrypting, scene
from tests.unit.runtime.server.memory_fleet import stop

pytestmark = pytest.mark.protocol


def verifiers(s: Scene) -> list[int]:
    """Who got the ciphertexts, round by round."""
    return [index for kind, _, to in s.fleet.heavy if kind == messages.VERIFY for index in to]


# -- all is well


def test_all_rounds_count_and_all_gates_end_with_the_model_that_is_written(make: Make) -> None:
    s = make(rounds=4)
    assert s.run() == Reason.COMPLETED
    assert s.contributed == [3, 3, 3, 3]
    assert all(not r.missing and not r.reasons and r.bytes for r in s.last.rounds)
    assert {p.name: p.rounds_contributed for p in s.last.participants} == {"p0": 4, "p1": 4, "p2": 4}
    [(number, digest)] = set(s.stands())
    arrays, metadata = read_model(s.root / "server/output/model.safetensors")
    assert number == 4
    assert digest == arrays_digest(arrays) == s.last.rounds[0].model_digest
    assert metadata["rounds"] == "4"
    assert s.last.model is not None


def test_with_the_real_engine_in_a_worker_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = encrypting(monkeypatch)
    monkeypatch.undo()  # the server's adder as in a pod
    s = scene(tmp_path, workers, rounds=2)
    assert s.run() == Reason.COMPLETED
    assert s.contributed == [3, 3]
    assert len({digest for _, digest in s.stands()}) == 1


def test_the_key_is_told_before_the_first_round(make: Make) -> None:
    s = make(rounds=1)
    s.run()
    ready = next(p for p in s.published if p.encryption is not None and p.encryption.fingerprint)
    assert ready.encryption is not None
    assert ready.encryption.holders == ["p0", "p1", "p2"]
    assert ready.encryption.maker == "p0"
    assert ready.round_started_at is None
    assert not ready.rounds


def test_a_round_is_four_exchanges(make: Make) -> None:
    s = make(rounds=3)
    s.run()
    one = [messages.TRAIN, messages.VERIFY, messages.APPLY, messages.EVALUATE]
    assert s.fleet.exchanges[-2 - 3 * 4 :] == [*one, *one, *one, messages.RELEASE, messages.MODEL]


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


def test_metrics_are_record_weighted_means_and_stop_the_job(make: Make) -> None:
    s = make(rounds=9, stop_when=stop("loss", ">=", "0"))
    assert s.run() == Reason.STOPPED_BY_METRIC
    assert len(s.last.rounds) == 1
    assert s.last.model is not None


@pytest.mark.parametrize("strategy", ["FedProx", "FedAdam", "FedYogi"])
def test_server_optimisers_run_in_the_gates(make: Make, strategy: Any) -> None:
    s = make(rounds=3, aggregation=Aggregation(strategy=strategy))
    s.run()
    assert s.contributed == [3, 3, 3]
    assert len(set(s.stands())) == 1


def test_the_server_has_no_array_of_any_model_until_it_is_released(make: Make) -> None:
    s = make(rounds=2)
    seen: list[set[str]] = []

    def after(question: Question, index: int, answer: Answer) -> Answer:
        if question.kind != messages.MODEL:
            seen.append(set(answer.arrays or {}))
        return answer

    s.fleet.after = after
    s.run()
    assert set().union(*seen) == {messages.CIPHERTEXT, messages.SEALED}


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
    replaced: list[int] = []

    def before(question: Question, index: int) -> Answer | None:
        if question.kind == messages.TRAIN and question.number == 3 and index == who and not replaced:
            replaced.append(who)
            s.replace(who)
        return None

    s.fleet.before = before
    s.run()
    assert s.contributed == [3, 3, 2, 3]
    assert s.last.rounds[1].reasons == {f"p{who}": "StateMissing"}
    assert len(s.fleet.rounds(messages.RESTORE)) == 1
    assert len(set(s.stands())) == 1


def test_with_all_needed_a_replaced_gate_is_restored_within_the_round(make: Make) -> None:
    s = make(rounds=3)
    replaced: list[int] = []

    def before(question: Question, index: int) -> Answer | None:
        if question.kind == messages.TRAIN and question.number == 2 and index == 1 and not replaced:
            replaced.append(1)
            s.replace(1)
        return None

    s.fleet.before = before
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
    replaced: list[int] = []

    def before(question: Question, index: int) -> Answer | None:
        if question.kind == messages.TRAIN and question.number == 3 and index == 2 and not replaced:
            replaced.append(2)
            s.replace(2)
        return None

    s.fleet.before = before
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


# -- updates that are left out


def changed(answer: Answer, change: Any) -> Answer:
    assert answer.arrays is not None
    arrays = {name: change(np.array(array)) for name, array in answer.arrays.items()}
    return Answer(arrays, answer.metrics, answer.records)


def other_bytes(array: Any) -> Any:
    """Another number in the last word: still a ciphertext, but not the one that was signed."""
    array[-8] ^= 1
    return array


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: changed(a, other_bytes), Reason.CIPHERTEXT_INVALID),
        (lambda a: changed(a, lambda array: array[:7]), Reason.CIPHERTEXT_INVALID),
        (lambda a: changed(a, lambda array: array.astype(np.float32)), Reason.UPDATE_MISMATCH),
        (lambda a: Answer({}, a.metrics, a.records), Reason.UPDATE_MISMATCH),
        (lambda a: Answer(a.arrays, {"num-examples": math.nan}, a.records), Reason.NON_FINITE_METRIC),
        (lambda a: Answer(a.arrays, a.metrics, {}), Reason.SIGNATURE_INVALID),
        (lambda a: Answer(a.arrays, a.metrics, {"he": {"text": "{}"}}), Reason.SIGNATURE_INVALID),
        (lambda a: Answer(a.arrays, a.metrics, {"he": {"text": "x" * 10_000_000}}), Reason.SIGNATURE_INVALID),
    ],
)
def test_an_update_that_is_none_is_left_out_and_named(make: Make, change: Any, reason: Reason) -> None:
    s = make(quorum=2, rounds=2)
    s.fleet.after = lambda q, i, a: change(a) if (q.kind, q.number, i) == (messages.TRAIN, 1, 1) else a
    s.run()
    assert s.contributed == [2, 3]
    assert s.last.rounds[1].reasons == {"p1": reason}
    assert s.last.rounds[1].missing == ["p1"]


def test_one_update_sent_by_two_counts_once(make: Make) -> None:
    """p1 sends p0's ciphertext, statement and all: it is not p1's."""
    s = make(quorum=2, rounds=1)
    first: list[Answer] = []

    def after(question: Question, index: int, answer: Answer) -> Answer:
        if question.kind == messages.TRAIN:
            first.append(answer)
            return first[0] if index == 1 else answer
        return answer

    s.fleet.after = after
    s.run()
    assert s.contributed == [2]
    assert s.last.rounds[0].reasons == {"p1": "SignatureInvalid"}


def test_an_update_of_an_older_round_is_stale(make: Make) -> None:
    s = make(quorum=2, rounds=2)
    first: list[Answer] = []

    def after(question: Question, index: int, answer: Answer) -> Answer:
        if question.kind == messages.TRAIN and index == 1:
            first.append(answer)
            return first[0]
        return answer

    s.fleet.after = after
    s.run()
    assert s.contributed == [3, 2]
    assert s.last.rounds[0].reasons == {"p1": "StaleRound"}


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


# -- models that differ


def other_model(s: Scene, index: int, rounds: set[int]) -> Any:
    """A gate that signs another model than it has."""

    def after(question: Question, who: int, answer: Answer) -> Answer:
        if question.kind != messages.APPLY or who != index or question.number not in rounds or answer.failure:
            return answer
        one = messages.ApplyReply.model_validate_json(str(answer.records["he"]["text"])).applied
        lie = s.job.signer(f"p{index}").applied(
            round=one.round,
            base=one.base,
            list_digest=one.list_digest,
            sum_digest=one.sum_digest,
            model="sha256:" + "1" * 64,
            state=one.state,
        )
        return Answer(answer.arrays, answer.metrics, {"he": {"text": messages.ApplyReply(applied=lie).to_text()}})

    return after


def test_a_model_that_differs_voids_the_round_and_the_next_starts_from_the_old_one(make: Make) -> None:
    s = make(rounds=4)
    s.fleet.after = other_model(s, 1, {2})
    s.run()
    assert s.contributed == [3, 0, 3, 3]
    void, before = s.last.rounds[2], s.last.rounds[3]
    assert void.reasons == {"p1": "ModelMismatch"}
    assert void.model_digest == before.model_digest
    assert len(set(s.stands())) == 1
    assert (messages.EVALUATE, 2) not in {(kind, number) for kind, number, _ in s.fleet.questions}


def test_three_void_rounds_in_a_row_end_the_job(make: Make) -> None:
    s = make(rounds=9)
    s.fleet.after = other_model(s, 2, {2, 3, 4})
    with pytest.raises(RunFailedError) as caught:
        s.run()
    assert caught.value.code == ExitCode.MODEL_MISMATCH
    assert "p2" in str(caught.value)
    assert s.contributed == [3, 0, 0, 0]


def test_an_update_that_is_no_ciphertext_of_numbers_voids_the_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed, added and voted for like any other: only the sum shows it, and not whose it is."""
    s = scene(tmp_path, encrypting(monkeypatch), rounds=3)

    def after(question: Question, index: int, answer: Answer) -> Answer:
        if (question.kind, question.number, index) != (messages.TRAIN, 2, 2):
            return answer
        honest = messages.TrainReply.model_validate_json(str(answer.records["he"]["text"])).contribution
        made_up = changed(answer, scrambled)
        assert made_up.arrays is not None
        fields = honest.model_dump(exclude={"participant", "agreement", "signature", "digest", "bodies", "seeds"})
        data = made_up.arrays["ciphertext"].tobytes()
        cut = split_upload("BFV", data, s.federation.state.saved.points)
        halves = {half: digest_of(each) for half, each in cut.items()}
        one = s.job.signer("p2").contribution(**fields, digest=digest_of(data), halves=halves)
        return replace(made_up, records={"he": {"text": messages.TrainReply(contribution=one).to_text()}})

    s.fleet.after = after
    s.run()
    assert s.contributed == [3, 0, 3]
    assert set(s.last.rounds[1].reasons.values()) == {"SumRefused"}
    assert any("one of the updates of p0, p1, p2 is ill-made" in p.message for p in s.published)


def scrambled(array: Any) -> Any:
    array[30:3000] ^= 0x15
    return array


def test_as_many_as_may_lie_do_not_stop_the_others(make: Make) -> None:
    s = make(5, rounds=3, quorum=4, collusion_threshold=1)
    s.fleet.after = other_model(s, 4, {1, 2, 3})
    s.run()
    assert s.contributed == [5, 5, 5]


def test_a_drained_pod_leaves_a_checkpoint_that_goes_on(make: Make) -> None:
    s = make(rounds=3)

    def before(question: Question, index: int) -> Answer | None:
        if question.kind == messages.TRAIN and question.number == 2:
            raise DrainedError
        return None

    s.fleet.before = before
    with pytest.raises(DrainedError):
        s.run()
    s.restart()
    s.run()
    assert s.contributed == [3, 3, 3]
