"""The encrypted round loop over real gates: rounds that count, updates that are left out, models that differ."""

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
from tests.unit.runtime.flower.gates import Scene, encrypting, scene
from tests.unit.runtime.server.memory_fleet import stop

pytestmark = pytest.mark.protocol


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
