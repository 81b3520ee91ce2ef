"""A server that wants one participant's update, against real gates with real keys and ciphertexts: each attempt is
refused by the gates and named in their logs, and the job goes on. Each has its control: with that one check left out of
the gates' code the same attempt gives the server (or a gate whose decryptions are watched) bank-a's update.
"""

import importlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

from hanse.api.replies import ReplyCode
from hanse.pki.identity import new_identity
from hanse.runtime.agreement import Signer, checks, digest_of, messages, new_prekey, roster, unwrap, wrap
from hanse.runtime.agreement import ballot as ballots
from hanse.runtime.agreement.statements import Contribution
from hanse.runtime.codec import Layout
from hanse.runtime.codec.summed import SumCodec
from hanse.runtime.gate.encrypted_workers import Workers
from hanse.runtime.he import Cipher, engine_of, fingerprint
from tests.unit.runtime.agreement.mutants import without
from tests.unit.runtime.gate.encrypted_fleet import (
    HERE,
    MODEL,
    Fleet,
    GateRefused,
    Server,
    refused,
    request,
    step,
)

CODE = ReplyCode
A, B, C = "bank-a", "bank-b", "bank-c"
LAYOUT = Layout.of(MODEL, [])
Vector = NDArray[np.float64]

#: What the server is after, and what it may be wrong by: a few steps of the grid, which is 2^-17 of the range.
SECRET: Vector = LAYOUT.flatten(step(A, 1, MODEL)) - LAYOUT.flatten(MODEL)
CLOSE = 1e-4
BALLOT: dict[str, Any] = {name: getattr(ballots.Ballot, name) for name in ("_check_list", "decide")}


@dataclass
class Hostile(Server):
    """The server's parts, used wrongly. `decrypted` is what gates have decrypted, watched in their memory."""

    fleet: Fleet
    decrypted: list[tuple[int, NDArray[np.int64]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.fleet)

    def collect(self, number: int = 1) -> list[Contribution]:
        """Keys for all, and everybody's upload of round 1."""
        self.keys()
        return [self.train(name, number) for name in self.fleet.members]

    def total_of(self, names: list[str]) -> bytes:
        """What the engine adds up of these uploads."""
        return engine_of("BFV").add([self.ciphertexts[name] for name in names], self.count)

    def mean(self, points: NDArray[np.int64], mass: float) -> Vector:
        """Points as the update that they are: a division that anybody can do."""
        members = [(float(one.scale), float(one.mass)) for one in self.fleet.plan.roster]
        codec = SumCodec.of(LAYOUT, 1, self.fleet.roster.agreement, members, None, None, 1.0)
        return codec.mean(points, mass)

    def mass(self, *names: str) -> float:
        return sum(float(self.fleet.plan.member(name).mass) for name in names)

    def end_with(self, message: messages.ApplyRequest, total: bytes, number: int = 1) -> Vector:
        """All gates apply the sum, and the model is released: how far it has moved."""
        self.finish(number, message, total, self.fleet.members)
        arrays = self.model(A, self.release()).arrays()
        return LAYOUT.flatten(arrays) - LAYOUT.flatten(MODEL)

    def read(self, key: bytes, name: str) -> Vector:
        """One participant's update out of its upload, for whoever has the job's key."""
        engine = engine_of("BFV")
        points = engine.decrypt(engine.round_key(key, 1), self.total_of([name]), self.count)
        return self.mean(points, self.mass(name))


class Watched:
    """A gate's cipher that writes down what it has decrypted."""

    def __init__(self, cipher: Cipher, decrypted: list[tuple[int, NDArray[np.int64]]]) -> None:
        self._cipher, self._decrypted = cipher, decrypted
        self.encrypt, self.close = cipher.encrypt, cipher.close

    def decrypt(self, number: int, total: bytes, count: int) -> NDArray[np.int64]:
        points = self._cipher.decrypt(number, total, count)
        self._decrypted.append((number, points))
        return points


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hostile]:
    decrypted: list[tuple[int, NDArray[np.int64]]] = []
    made: Any = lambda scheme, key: Watched(HERE.cipher(scheme, key), decrypted)  # noqa: E731
    fleet = Fleet(tmp_path, workers=Workers(made, HERE.summing))
    yield Hostile(fleet, decrypted)
    fleet.close()


# --- what it tries: each returns what it takes for bank-a's update ---------------------------------------------------


def one_upload_as_the_aggregate(server: Hostile) -> Vector:
    """The list is honest, what comes back as its sum is bank-a's upload."""
    listed = server.collect()
    message = server.agree(1, listed, [A, B, C], [B])
    return server.end_with(message, server.total_of([A])) * server.mass(A, B, C) / server.mass(A)


def one_upload_as_the_list(server: Hostile) -> Vector:
    listed = server.collect()[:1]
    message = server.agree(1, listed, [A, B, C], [B])
    return server.end_with(message, server.total_of([A]))


def one_upload_three_times(server: Hostile) -> Vector:
    listed = server.collect()[:1] * 3
    message = server.agree(1, listed, [A, B, C], [B])
    return server.end_with(message, server.total_of([A, A, A]))


def one_upload_in_the_others_places(server: Hostile) -> Vector:
    """The verifier gets bank-a's ciphertext three times, for three that were signed."""
    listed = server.collect()
    honest = dict(server.ciphertexts)
    server.ciphertexts = dict.fromkeys(honest, honest[A])
    message = server.agree(1, listed, [A, B, C], [B])
    return server.end_with(message, server.total_of([A, B, C])) * server.mass(A, B, C) / server.mass(A) / 3


def one_upload_signed_by_colluders(server: Hostile) -> Vector:
    """bank-b and bank-c sign bank-a's ciphertext as theirs."""
    mine = server.collect()[0]
    server.ciphertexts = dict.fromkeys(server.ciphertexts, server.ciphertexts[A])
    listed = [mine, *(forged(server, name, server.fleet.signer(name), digest=mine.digest) for name in (B, C))]
    message = server.agree(1, listed, [A, B, C], [B])
    return server.end_with(message, server.total_of([A, B, C])) * server.mass(A, B, C) / server.mass(A) / 3


def uploads_of_its_own(server: Hostile) -> Vector:
    """bank-b's and bank-c's words are the server's: it knows what to subtract."""
    mine, stranger = server.collect()[0], new_identity()
    listed = [mine]
    for name in (B, C):
        signer = Signer(stranger.private, name, server.fleet.roster.agreement)
        listed.append(forged(server, name, signer))
    message = server.agree(1, listed, [A, B, C], [B])
    moved = server.end_with(message, server.total_of([A, B, C])) * server.mass(A, B, C)
    return (moved - sum(server.mass(name) * own_update(name) for name in (B, C))) / server.mass(A)


def a_participant_of_its_own(server: Hostile) -> Vector:
    """bank-x is in no roster."""
    mine = server.collect()[0]
    server.ciphertexts["bank-x"] = server.ciphertexts.pop(B)
    signer = Signer(new_identity().private, "bank-x", server.fleet.roster.agreement)
    listed = [mine, forged(server, C, signer, scale="1", digest=digest_of(server.ciphertexts["bank-x"]))]
    server.agree(1, listed, [A, B, C], [B])
    raise AssertionError("a stranger was counted")


def two_subsets_at_two_gates(server: Hostile) -> Vector:
    """bank-a gets the whole sum, bank-b the one without bank-a."""
    listed = server.collect()
    server.apply(A, server.agree(1, listed, [A], [A]), server.total_of([A, B, C]))
    server.apply(B, server.agree(1, listed[1:], [B], [B]), server.total_of([B, C]))
    (_, whole), (_, part) = server.decrypted
    return server.mean(whole - part, server.mass(A))


def two_lists_at_one_gate(server: Hostile) -> Vector:
    """The same to all of them, one list after the other."""
    listed = server.collect()
    server.apply(B, server.agree(1, listed, [A, B, C], [B]), server.total_of([A, B, C]))
    server.apply(B, server.agree(1, listed[1:], [A, B, C], [B]), server.total_of([B, C]))
    (_, whole), (_, part) = server.decrypted
    return server.mean(whole - part, server.mass(A))


def two_lists_around_a_kill(server: Hostile) -> Vector:
    """The gates are killed in between: their memory is gone."""
    listed = server.collect()
    server.apply(B, server.agree(1, listed, [A, B, C], [B]), server.total_of([A, B, C]))
    for gate in server.fleet.gate.values():
        gate.kill()
    server.apply(B, server.agree(1, listed[1:], [A, B, C], [B]), server.total_of([B, C]))
    (_, whole), (_, part) = server.decrypted
    return server.mean(whole - part, server.mass(A))


def an_old_round_again(server: Hostile) -> Vector:
    """Round 1 is said to be void; its uploads come back in round 2, without bank-a's."""
    listed = server.collect()
    server.apply(B, server.agree(1, listed, [A, B, C], [B]), server.total_of([A, B, C]))
    message = server.agree(2, listed[1:], [A, B, C], [B])
    server.apply(B, message, server.total_of([B, C]))
    (_, whole), (_, part) = server.decrypted
    return server.mean(whole - part, server.mass(A))


def an_old_list_again(server: Hostile) -> Vector:
    """Round 2 is asked for first; then round 1, with two lists to choose from."""
    listed = server.collect()
    second = [server.train(name, 2) for name in (A, B, C)]
    server.agree(2, second, [A, B, C], [B])
    server.agree(1, listed, [A, B, C], [])
    raise AssertionError("a vote for round 1 after one for round 2")


def a_vote_for_two(server: Hostile) -> Vector:
    """bank-a's vote twice in one message makes two."""
    listed = server.collect()
    message = server.agree(1, listed, [A], [A])
    server.apply(A, message.model_copy(update={"votes": message.votes * 2}), server.total_of([A, B, C]))
    message = server.agree(1, listed[1:], [B], [B])
    server.apply(B, message.model_copy(update={"votes": message.votes * 2}), server.total_of([B, C]))
    (_, whole), (_, part) = server.decrypted
    return server.mean(whole - part, server.mass(A))


def a_sum_that_nobody_computed(server: Hostile) -> Vector:
    listed = server.collect()
    message = server.agree(1, listed, [A, B, C], [])
    return server.end_with(message, server.total_of([A])) * server.mass(A, B, C) / server.mass(A)


def its_own_key(server: Hostile) -> Vector:
    """The gates get a key that the server has made, under the maker's name."""
    return with_key_of(server, Signer(new_identity().private, A, server.fleet.roster.agreement))


def a_colluders_key(server: Hostile) -> Vector:
    """bank-c says that it makes the key."""
    return with_key_of(server, server.fleet.signer(C))


def with_key_of(server: Hostile, maker: Signer) -> Vector:
    key = engine_of("BFV").keygen()
    statement = maker.key(1, fingerprint(key))
    for name in (A, B, C):
        prekey = server.hello(name).prekey
        envelope = wrap(key, prekey, epoch=1, fingerprint=fingerprint(key), signer=maker)
        joining = messages.JoinRequest(statement=statement, envelope=envelope)
        said = server.ask(name, messages.JOIN, joining).message(messages.JoinReply)
        server.confirmations[name] = said.confirmation
    server.confirm([A, B, C])
    server.train(A, 1)
    return server.read(key, A)


def another_envelope(server: Hostile) -> Vector:
    """The maker's word is its own; bank-c's envelope holds the server's key."""
    key = engine_of("BFV").keygen()
    statement = server.wrap(A, [A]).statement
    prekey = server.hello(B).prekey
    envelope = wrap(key, prekey, epoch=1, fingerprint=statement.fingerprint, signer=server.fleet.signer(C))
    joining = messages.JoinRequest(statement=statement, envelope=envelope)
    confirmed = [server.ask(B, messages.JOIN, joining).message(messages.JoinReply).confirmation]
    confirmed.append(server.fleet.signer(C).confirmation(1, statement.fingerprint))
    server.ask(B, messages.CONFIRMED, messages.ConfirmedRequest(confirmations=confirmed))
    server.train(B, 1)
    return server.read(key, B) - own_update(B) + SECRET


def a_prekey_of_its_own(server: Hostile) -> Vector:
    """Under bank-b's name: the maker would wrap the key for the server."""
    server.collect()
    pair = new_prekey()
    prekey = Signer(new_identity().private, B, server.fleet.roster.agreement).prekey(pair.public)
    wrapped = server.ask(A, messages.WRAP, messages.WrapRequest(recipients=[prekey])).message(messages.WrapReply)
    return server.read(unwrap(wrapped.envelopes[0], pair, fingerprint), A)


def a_sum_under_another_key(server: Hostile) -> Vector:
    """Uploads under a key of the colluders', as if of this job."""
    listed = server.collect()
    other = fingerprint(engine_of("BFV").keygen())
    wrong = forged(server, C, server.fleet.signer(C), fingerprint=other, digest=listed[2].digest)
    message = server.agree(1, [*listed[:2], wrong], [A, B, C], [B])
    server.apply(B, message, server.total_of([A, B, C]))
    raise AssertionError("updates under two keys were added up")


def the_model_without_everybodys_word(server: Hostile) -> Vector:
    """bank-a alone is in the list of bank-b's and bank-c's release: it has not said yes."""
    listed = server.collect()
    message = server.agree(1, listed, [A, B, C], [B])
    server.finish(1, message, server.total_of([A, B, C]), [A, B, C])
    moved = LAYOUT.flatten(server.model(B, server.release([B, C])).arrays()) - LAYOUT.flatten(MODEL)
    return (moved * server.mass(A, B, C) - sum(server.mass(name) * own_update(name) for name in (B, C))) / server.mass(
        A
    )


def a_model_of_its_own(server: Hostile) -> Vector:
    """A commit that one colluder has signed alone: its model would be what everybody trains on."""
    listed = server.collect()
    message = server.agree(1, listed, [A, B, C], [B])
    word, _ = server.apply(C, message, server.total_of([A, B, C]))
    crafted = server.fleet.signer(C).applied(
        round=1,
        base=0,
        list_digest=word.list_digest,
        sum_digest=word.sum_digest,
        model=digest_of(b"crafted"),
        state=digest_of(b"crafted"),
    )
    commit = messages.Commit(round=1, applied=[crafted])
    server.ask(A, messages.TRAIN, messages.TrainRequest(commit=commit, attempt=1), number=2)
    raise AssertionError("a model was committed that no gate has")


def forged(server: Hostile, name: str, signer: Signer, **changes: str) -> Contribution:
    """A contribution to round 1 by whoever signs it."""
    hello = server.hello(A)
    fields = {
        "fingerprint": hello.fingerprint,
        "scale": server.fleet.plan.member(name).scale,
        "digest": digest_of(server.ciphertexts[name]) if name in server.ciphertexts else "",
        "base": hello.model,
    }
    return signer.contribution(epoch=1, round=1, attempt=1, **{**fields, **changes})


def own_update(name: str) -> Vector:
    """What a colluder knows: its own."""
    return LAYOUT.flatten(step(name, 1, MODEL)) - LAYOUT.flatten(MODEL)


# --- refused, and the control ----------------------------------------------------------------------------------------

Attack = Callable[[Hostile], Vector]
#: attack; the code; what stands in a gate's log; the refusals (module, words in its source) that the control leaves out
ATTACKS: list[tuple[Attack, ReplyCode, str, Mapping[ModuleType, list[str]]]] = [
    (
        one_upload_as_the_aggregate,
        CODE.SUM_REFUSED,
        "not the sum that bank-b has computed",
        {checks: ["this is not the sum"]},
    ),
    (one_upload_as_the_list, CODE.TOO_FEW_CONTRIBUTIONS, "has 1 updates, 2 are", {checks: ["updates, {roster"]}),
    (one_upload_three_times, CODE.SUM_REFUSED, "bank-a stands twice", {roster: ["stands twice"]}),
    (
        one_upload_in_the_others_places,
        CODE.CIPHERTEXT_INVALID,
        "not the one that bank-b has signed",
        {checks: ["the ciphertext is not the one"]},
    ),
    (one_upload_signed_by_colluders, CODE.SUM_REFUSED, "bank-a and bank-b send", {checks: ["send the same"]}),
    (uploads_of_its_own, CODE.SIGNATURE_INVALID, "bank-b is not signed by bank-b", {roster: ["is not signed by"]}),
    (a_participant_of_its_own, CODE.SIGNATURE_INVALID, "bank-x is no participant", {}),
    (two_subsets_at_two_gates, CODE.SUM_REFUSED, "1 votes for the list, 2 are", {checks: ["votes for the list"]}),
    (
        two_lists_at_one_gate,
        CODE.SECOND_SUM,
        "another list for round 1",
        {ballots: ["has taken another list", "another sum of"]},
    ),
    (
        two_lists_around_a_kill,
        CODE.SECOND_SUM,
        "another list for round 1",
        {ballots: ["has taken another list", "another sum of"]},
    ),
    (
        an_old_round_again,
        CODE.STALE_ROUND,
        "update of bank-b is of round 1, this is round 2",
        {checks: ["update of {who} is of round"]},
    ),
    (an_old_list_again, CODE.STALE_ROUND, "a list of round 1, but this gate is in round 2", {}),
    (a_vote_for_two, CODE.SUM_REFUSED, "bank-a stands twice in a list of vote", {roster: ["stands twice"]}),
    (
        a_sum_that_nobody_computed,
        CODE.SUM_REFUSED,
        "0 gates have computed the sum, 1 must",
        {checks: ["have computed the sum"]},
    ),
    (its_own_key, CODE.SIGNATURE_INVALID, "key of bank-a is not signed by bank-a", {roster: ["is not signed by"]}),
    (a_colluders_key, CODE.KEY_REFUSED, "bank-c says what the key is, but bank-a", {checks: ["says what the key is"]}),
    (a_prekey_of_its_own, CODE.SIGNATURE_INVALID, "prekey of bank-b is not signed", {roster: ["is not signed by"]}),
    (a_sum_under_another_key, CODE.KEY_REFUSED, "bank-c is encrypted under another key", {}),
    (
        the_model_without_everybodys_word,
        CODE.RELEASE_REFUSED,
        "updates without a release: bank-a",
        {checks: ["holds updates without"]},
    ),
    (a_model_of_its_own, CODE.MODEL_MISMATCH, "1 gates have this model after round 1, 2 must", {}),
]
IDS = [one[0].__name__ for one in ATTACKS]


@pytest.mark.parametrize(("attack", "code", "words", "left_out"), ATTACKS, ids=IDS)
def test_it_is_refused_and_named(
    server: Hostile,
    caplog: pytest.LogCaptureFixture,
    attack: Attack,
    code: ReplyCode,
    words: str,
    left_out: Mapping[ModuleType, list[str]],
) -> None:
    caplog.set_level(logging.INFO)

    with pytest.raises(GateRefused) as caught:
        attack(server)

    assert caught.value.code == code
    assert words in caplog.text
    # Nothing was decrypted but, where the attack asks for one first, the sum of all.
    for _, points in server.decrypted:
        everybody = sum(server.mass(name) * own_update(name) for name in (A, B, C))
        np.testing.assert_allclose(server.mean(points, 1.0), everybody, atol=CLOSE)
    if attack is not the_model_without_everybodys_word:  # after a release nothing is trained
        if not server.hello(A).fingerprint or len(server.confirmations) < 3:
            server.keys()
        server.commit = None
        assert server.round(3).round == 3


CONTROLS = [one for one in ATTACKS if one[3]]


@pytest.mark.parametrize(("attack", "code", "words", "left_out"), CONTROLS, ids=[one[0].__name__ for one in CONTROLS])
def test_without_that_check_it_reads_the_update(
    server: Hostile,
    monkeypatch: pytest.MonkeyPatch,
    attack: Attack,
    code: ReplyCode,
    words: str,
    left_out: Mapping[ModuleType, list[str]],
) -> None:
    for module, refusals in left_out.items():
        for refusal in refusals:
            leave_out(module, refusal, monkeypatch)

    np.testing.assert_allclose(attack(server), SECRET, atol=CLOSE)


def leave_out(module: ModuleType, refusal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a mutant's functions and methods in the place of the real ones, wherever the gates have imported them."""
    mutant = without(module, refusal)
    if module is roster:
        monkeypatch.setattr(roster.Roster, "verify", mutant.Roster.verify)
        monkeypatch.setattr(roster.Roster, "verify_each", mutant.Roster.verify_each)
        return
    if module is ballots:
        for name, real in BALLOT.items():
            changed = getattr(mutant.Ballot, name)
            if changed.__code__.co_code != real.__code__.co_code:
                monkeypatch.setattr(ballots.Ballot, name, changed)
        return
    for part in ("keys", "model", "round", "release"):
        gates = importlib.import_module(f"hanse.runtime.gate.encrypted_{part}")
        for name in vars(gates).keys() & {one for one in vars(mutant) if one.startswith("check_")}:
            monkeypatch.setattr(gates, name, getattr(mutant, name))


# --- what needs no control: it is not asked for, or there is nothing to gain but harm ---------------------------------


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
