"""Halves of ciphertexts at real gates: who verifies holds the job's key, so half an update is all that it may get."""

import logging
from pathlib import Path

import numpy as np
import pytest

from hanse.api.encryption import HALVES, Half
from hanse.runtime.agreement import ballot as ballots
from hanse.runtime.he import DecryptionImplausible, Halves, engine_of, join_total
from hanse.runtime.he.blob import HEADER_BYTES
from tests.contract.privacy.hostile import CLOSE, CODE, SECRET, A, B, C, Hostile, Vector
from tests.contract.privacy.test_hostile_server import leave_out
from tests.unit.runtime.gate.encrypted_fleet import Fleet
from tests.unit.runtime.gate.encrypted_gate import refused

OTHER: dict[Half, Half] = {"Bodies": "Seeds", "Seeds": "Bodies"}


def key_of(server: Hostile, name: str) -> bytes:
    """What a changed gate has."""
    return (server.fleet.gate[name].paths.state / "encrypted" / "job-key").read_bytes()


def read_by(server: Hostile, name: str, halves: Halves) -> Vector:
    """bank-a's update, by a gate with the job's key and what it was given. Raises DecryptionImplausible."""
    engine = engine_of("BFV")
    sums = {half: engine.add([halves[half]], server.count, half) for half in HALVES}
    total = join_total("BFV", sums, server.count)
    points = engine.decrypt(engine.round_key(key_of(server, name), 1), total, server.count)
    return server.mean(points, server.mass(A))


@pytest.mark.parametrize("first", HALVES)
def test_a_gate_does_not_take_the_other_half_also_after_a_kill(
    server: Hostile, caplog: pytest.LogCaptureFixture, first: Half
) -> None:
    caplog.set_level(logging.INFO)
    listed = server.collect()
    server.verify(C, 1, listed, first)
    for _ in range(2):
        with refused(CODE.SUM_REFUSED):
            server.verify(C, 1, listed, OTHER[first])
        assert f"this gate has had the {first.lower()} of round 1" in caplog.text
        server.fleet.gate[C].kill()
    server.verify(C, 1, listed, first)
    server.verify(C, 1, listed)
    assert server.round(2).round == 2, "the next round it may take either"


def test_a_gate_that_is_given_both_halves_reads_the_update(server: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: what keeping them apart is for."""
    original = ballots.Ballot.take
    leave_out(ballots, "this gate has had", monkeypatch)
    assert ballots.Ballot.take is not original
    listed = server.collect()
    for half in HALVES:
        server.verify(C, 1, listed, half)

    found = read_by(server, C, {half: server.half(A, half) for half in HALVES})

    np.testing.assert_allclose(found, SECRET, atol=CLOSE)


def test_a_changed_gate_with_the_key_and_one_half_reads_nothing(server: Hostile) -> None:
    """It may put in what it likes for the other half: zeros, its own, another participant's."""
    server.collect()
    theirs: Halves = {half: server.half(A, half) for half in HALVES}
    for half in HALVES:
        other = OTHER[half]
        size = len(theirs[other]) - HEADER_BYTES
        guesses = [bytes(size), server.half(B, other)[HEADER_BYTES:], server.half(C, other)[HEADER_BYTES:]]
        for guess in guesses:
            with pytest.raises(DecryptionImplausible):
                read_by(server, C, {**theirs, other: theirs[other][:HEADER_BYTES] + guess})
    np.testing.assert_allclose(read_by(server, C, theirs), SECRET, atol=CLOSE)


def swapped(server: Hostile) -> None:
    """bank-a's seeds under bank-b's name, and the reverse."""
    cut = server.ciphertexts
    server.ciphertexts = {**cut, A: cut[B], B: cut[A]}


def one_for_all(server: Hostile) -> None:
    """bank-a's in all places."""
    server.ciphertexts = dict.fromkeys(server.ciphertexts, server.ciphertexts[A])


def of_round_two(server: Hostile) -> None:
    """What gates have sent in the next round."""
    for name in (A, B, C):
        server.train(name, 2)


@pytest.mark.parametrize("change", [swapped, one_for_all, of_round_two])
@pytest.mark.parametrize("half", HALVES)
def test_what_verifiers_get_must_be_what_was_signed_half_by_half(
    server: Hostile, caplog: pytest.LogCaptureFixture, half: Half, change: object
) -> None:
    """The server shows one verifier the true halves and another one something else."""
    listed = server.collect()
    server.verify(B, 1, listed, OTHER[half])
    change(server)  # type: ignore[operator]
    with refused(CODE.CIPHERTEXT_INVALID):
        server.verify(C, 1, listed, half)
    assert f"the {half.lower()} are not those that bank-" in caplog.text


def test_halves_are_not_taken_for_each_other(server: Hostile) -> None:
    listed = server.collect()
    whole, server.half = server.half, lambda name, half: whole(name, OTHER[half])  # type: ignore[method-assign]
    with refused(CODE.CIPHERTEXT_INVALID):
        server.verify(B, 1, listed, "Bodies")
    server.half = lambda name, half: server.ciphertexts[name]  # type: ignore[method-assign]
    with refused(CODE.CIPHERTEXT_INVALID):
        server.verify(C, 1, listed, "Seeds")


def test_two_sums_of_different_lists_are_not_joined(server: Hostile, caplog: pytest.LogCaptureFixture) -> None:
    """The bodies of all with the seeds of all but bank-a would decrypt to nonsense, which tells of bank-a's seeds."""
    listed = server.collect()
    message = server.agree(1, listed, [A, B, C], [B, C])
    parts = {half: [server.half(name, half) for name in (A, B, C)] for half in HALVES}
    engine = engine_of("BFV")
    sums: Halves = {half: engine.add(parts[half], server.count, half) for half in HALVES}
    sums["Seeds"] = engine.add([*parts["Seeds"][1:], parts["Seeds"][1]], server.count, "Seeds")
    with refused(CODE.SUM_REFUSED):
        server.apply(A, message, join_total("BFV", sums, server.count))
    assert "this is not the sum that bank-c has computed" in caplog.text
    assert not server.decrypted


def test_a_plan_with_too_few_for_two_groups_lets_a_gate_take_both(tmp_path: Path) -> None:
    """Three of four with t = 1: the epsilon against one participant counts one share alone there (hanse.dp.shares)."""
    fleet = Fleet(tmp_path, members=[A, B, C, "bank-d"], quorum=3, collusion_threshold=1)
    assert not fleet.plan.keeps_halves_apart
    server = Hostile(fleet)
    try:
        server.keys()
        assert server.round(1, present=[A, B, C]).round == 1
    finally:
        fleet.close()
