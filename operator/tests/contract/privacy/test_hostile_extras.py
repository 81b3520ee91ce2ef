"""Beside test_hostile_server: participants that lie with the server, and what it may ask for but does not get."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

from hanse.runtime.agreement import messages
from tests.contract.privacy.hostile import CLOSE, CODE, SECRET, A, B, C, Hostile, Vector, watching
from tests.unit.runtime.gate.encrypted_fleet import MODEL, Fleet
from tests.unit.runtime.gate.encrypted_gate import GateRefused, refused, request, step

FIVE = [A, B, C, "bank-d", "bank-e"]


def a_lying_verifier(root: Path, threshold: int) -> Vector:
    """bank-d and bank-e sign that bank-a's upload is the sum of all: one verifier of each half."""
    fleet = Fleet(root, members=FIVE, quorum=4, collusion_threshold=threshold)
    server = Hostile(fleet)
    try:
        listed = server.collect()
        honest = server.agree(1, listed, FIVE, [B, C])
        alone = server.total_of([A])
        lies = server.words(["bank-d", "bank-e"], honest.votes[0].list_digest, alone)
        if threshold:
            with refused(CODE.SUM_REFUSED):
                server.apply(A, honest.model_copy(update={"recomputed": [*lies, *honest.recomputed]}), alone)
        moved = server.end_with(honest.model_copy(update={"recomputed": lies}), alone)
        return moved * server.mass(*FIVE) / server.mass(A)
    finally:
        fleet.close()


def test_a_verifier_that_lies_is_not_enough(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(GateRefused) as caught:
        a_lying_verifier(tmp_path / "one", threshold=1)
    assert caught.value.code is CODE.SUM_REFUSED
    assert "this is not the sum that bank-b has computed" in caplog.text
    assert "1 gates have computed the sum of the bodies, 2 must" in caplog.text

    # The control: one more than collusionThreshold.
    np.testing.assert_allclose(a_lying_verifier(tmp_path / "none", threshold=0), SECRET, atol=CLOSE)


def a_gate_that_votes_twice(root: Path, threshold: int) -> Vector:
    """bank-e votes for two lists, of which one lacks bank-a: two honest gates for each."""
    fleet = Fleet(root, members=FIVE, quorum=4, collusion_threshold=threshold)
    decrypted: list[tuple[int, NDArray[np.int64]]] = []
    workers = watching(decrypted)
    for gate in fleet.gate.values():
        gate.workers = workers
    server = Hostile(fleet, decrypted)
    try:
        listed = server.collect()
        for part, voters in ((listed, [A, B]), (listed[1:], [C, "bank-d"])):
            names = [one.participant for one in part]
            message = server.agree(1, part, voters, voters)
            liar = fleet.signer("bank-e")
            words = [*message.votes, liar.vote(1, message.votes[0].list_digest)]
            server.apply(voters[0], message.model_copy(update={"votes": words}), server.total_of(names))
        (_, whole), (_, rest) = decrypted
        return server.mean(whole - rest, server.mass(A))
    finally:
        fleet.close()


def test_a_gate_that_votes_twice_is_not_enough(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(GateRefused) as caught:
        a_gate_that_votes_twice(tmp_path / "one", threshold=1)
    assert caught.value.code is CODE.SUM_REFUSED
    assert "3 votes for the list, 4 are the least" in caplog.text

    # The control: one more than collusionThreshold.
    np.testing.assert_allclose(a_gate_that_votes_twice(tmp_path / "none", threshold=0), SECRET, atol=CLOSE)


def test_a_model_that_the_server_sends_is_not_trained_on(server: Hostile) -> None:
    """An update that starts from a crafted model may hold records in the clear (tests/attacks/test_imprint)."""
    seen: list[dict[str, Any]] = []
    server.keys()

    def train(name: str, number: int, arrays: dict[str, Any]) -> dict[str, Any]:
        seen.append(arrays)
        return step(name, number, arrays)

    server.fleet.gate[A].train = train
    message = request(messages.TrainRequest(attempt=1), number=1)
    message["arrays"] = ArrayRecord({name: Array(np.full_like(value, 77)) for name, value in MODEL.items()})
    evaluated = request(messages.EvaluateRequest(), number=1)
    evaluated["arrays"] = message["arrays"]

    reply = server.fleet.gate[A].ask(messages.TRAIN, message)
    loss = server.fleet.gate[A].ask(messages.EVALUATE, evaluated).records.metric_records["metrics"]["loss"]

    for name, value in MODEL.items():
        np.testing.assert_array_equal(seen[0][name], value)
    assert loss == pytest.approx(sum(float(np.square(value).sum()) for value in MODEL.values()))
    assert set(reply.records) == {messages.RECORD, messages.UPDATE, "metrics"}


def test_of_a_training_nothing_leaves_but_ciphertext_a_statement_and_a_count(server: Hostile) -> None:
    server.keys()
    reply = server.fleet.gate[A].ask(messages.TRAIN, request(messages.TrainRequest(attempt=1), number=1))

    assert set(reply.records) == {messages.RECORD, messages.UPDATE, "metrics"}
    assert set(reply.records.config_records[messages.RECORD]) == {messages.TEXT}
    assert set(reply.records.array_records[messages.UPDATE]) == {messages.CIPHERTEXT}
    assert dict(reply.records.metric_records["metrics"]) == {"num-examples": 100}


def test_the_same_question_has_the_same_answer_after_a_kill(server: Hostile) -> None:
    """Two ciphertexts of one update, or two updates of one round, would be two things to compare."""
    server.keys()
    first = server.train(A, 1), server.ciphertexts[A]
    server.fleet.gate[A].kill()

    assert (server.train(A, 1), server.ciphertexts[A]) == first
    assert server.fleet.gate[A].trained == [1]


def test_an_old_or_changed_state_is_not_taken(server: Hostile, caplog: pytest.LogCaptureFixture) -> None:
    server.keys()
    server.round(1)
    assert server.sealed is not None
    old, sealed = server.sealed
    server.round(2)
    commit, newest = server.sealed
    for name in (A, B, C):  # they learn of the commit
        server.evaluate(name, 2)

    with refused(CODE.STALE_ROUND):
        restore(server, A, old, sealed)
    server.fleet.gate[B].replace()  # another pod, without key and state
    server.join(C, [B])
    for state in (sealed, newest[:-1], newest[:100] + b"x" + newest[101:], b""):
        with refused(CODE.STATE_REFUSED, CODE.CIPHERTEXT_INVALID):
            restore(server, B, commit, state)
    assert server.hello(B).round == 0
    restore(server, B, commit, newest)
    assert server.hello(B) == server.hello(B).model_copy(update={"round": 2, "model": server.hello(A).model})


def restore(server: Hostile, name: str, commit: messages.Commit, sealed: bytes) -> None:
    server.ask(name, messages.RESTORE, messages.RestoreRequest(commit=commit), arrays={"state": {"sealed": sealed}})


def test_after_a_release_nothing_is_trained_and_no_other_model_goes(server: Hostile) -> None:
    """Two models of two rounds would tell the sum between them."""
    server.keys()
    server.round(1)
    message = server.release()
    first = server.model(A, message).arrays()
    with refused(CODE.RELEASE_REFUSED):
        server.train(A, 2)
    with refused(CODE.STALE_ROUND, CODE.RELEASE_REFUSED):
        server.model(A, message.model_copy(update={"round": 2}))

    again = server.model(B, server.release()).arrays()
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_no_check_helps_against_a_server_that_was_given_the_key(server: Hostile) -> None:
    """What the status says: one participant that hands out its key opens every upload."""
    server.collect()
    key = (server.fleet.gate[C].paths.state / "encrypted" / "job-key").read_bytes()

    np.testing.assert_allclose(server.read(key, A), SECRET, atol=CLOSE)
