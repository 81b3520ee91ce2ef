"""What a hostile server tries: each function returns what it takes for bank-a's update. See test_hostile_server."""

from hanse.pki.identity import new_identity
from hanse.runtime.agreement import Signer, digest_of, messages, new_prekey, prekeys_digest, unwrap, wrap
from hanse.runtime.he import engine_of, fingerprint
from tests.contract.privacy.hostile import LAYOUT, SECRET, A, B, C, Hostile, Vector, forged, own_update
from tests.unit.runtime.gate.encrypted_fleet import MODEL


def one_upload_as_the_aggregate(server: Hostile) -> Vector:
    """The list is honest, what comes back as its sum is bank-a's upload."""
    listed = server.collect()
    message = server.agree(1, listed, [A, B, C], [B, C])
    return server.end_with(message, server.total_of([A])) * server.mass(A, B, C) / server.mass(A)


def one_upload_as_the_list(server: Hostile) -> Vector:
    listed = server.collect()[:1]
    message = server.agree(1, listed, [A, B, C], [B, C])
    return server.end_with(message, server.total_of([A]))


def one_upload_three_times(server: Hostile) -> Vector:
    listed = server.collect()[:1] * 3
    message = server.agree(1, listed, [A, B, C], [B, C])
    return server.end_with(message, server.total_of([A, A, A]))


def one_upload_in_the_others_places(server: Hostile) -> Vector:
    """The verifier gets bank-a's ciphertext three times, for three that were signed."""
    listed = server.collect()
    honest = dict(server.ciphertexts)
    server.ciphertexts = dict.fromkeys(honest, honest[A])
    message = server.agree(1, listed, [A, B, C], [B, C])
    return server.end_with(message, server.total_of([A, B, C])) * server.mass(A, B, C) / server.mass(A) / 3


def one_upload_signed_by_colluders(server: Hostile) -> Vector:
    """bank-b and bank-c sign bank-a's ciphertext as theirs."""
    mine = server.collect()[0]
    server.ciphertexts = dict.fromkeys(server.ciphertexts, server.ciphertexts[A])
    listed = [mine, *(forged(server, name, server.fleet.signer(name), digest=mine.digest) for name in (B, C))]
    message = server.agree(1, listed, [A, B, C], [B, C])
    return server.end_with(message, server.total_of([A, B, C])) * server.mass(A, B, C) / server.mass(A) / 3


def uploads_of_its_own(server: Hostile) -> Vector:
    """bank-b's and bank-c's words are the server's: it knows what to subtract."""
    mine, stranger = server.collect()[0], new_identity()
    listed = [mine]
    for name in (B, C):
        signer = Signer(stranger.private, name, server.fleet.roster.agreement)
        listed.append(forged(server, name, signer))
    message = server.agree(1, listed, [A, B, C], [B, C])
    moved = server.end_with(message, server.total_of([A, B, C])) * server.mass(A, B, C)
    return (moved - sum(server.mass(name) * own_update(name) for name in (B, C))) / server.mass(A)


def a_participant_of_its_own(server: Hostile) -> Vector:
    """bank-x is in no roster."""
    mine = server.collect()[0]
    server.ciphertexts["bank-x"] = server.ciphertexts.pop(B)
    signer = Signer(new_identity().private, "bank-x", server.fleet.roster.agreement)
    listed = [mine, forged(server, C, signer, scale="1", digest=digest_of(server.ciphertexts["bank-x"]))]
    server.agree(1, listed, [A, B, C], [B, C])
    raise AssertionError("a stranger was counted")


def two_subsets_at_two_gates(server: Hostile) -> Vector:
    """bank-a gets the whole sum, bank-b the one without bank-a."""
    listed = server.collect()
    server.apply(A, server.voted(listed, [A]), server.total_of([A, B, C]))
    server.apply(B, server.voted(listed[1:], [B]), server.total_of([B, C]))
    (_, whole), (_, part) = server.decrypted
    return server.mean(whole - part, server.mass(A))


def two_lists_at_one_gate(server: Hostile) -> Vector:
    """The same to all of them, one list after the other."""
    listed = server.collect()
    server.apply(B, server.agree(1, listed, [A, B, C], [B, C]), server.total_of([A, B, C]))
    server.apply(B, server.agree(1, listed[1:], [A, B, C], [B, C]), server.total_of([B, C]))
    (_, whole), (_, part) = server.decrypted
    return server.mean(whole - part, server.mass(A))


def two_lists_around_a_kill(server: Hostile) -> Vector:
    """The gates are killed in between: their memory is gone."""
    listed = server.collect()
    server.apply(B, server.agree(1, listed, [A, B, C], [B, C]), server.total_of([A, B, C]))
    for gate in server.fleet.gate.values():
        gate.kill()
    server.apply(B, server.agree(1, listed[1:], [A, B, C], [B, C]), server.total_of([B, C]))
    (_, whole), (_, part) = server.decrypted
    return server.mean(whole - part, server.mass(A))


def an_old_round_again(server: Hostile) -> Vector:
    """Round 1 is said to be void; its uploads come back in round 2, without bank-a's."""
    listed = server.collect()
    server.apply(B, server.agree(1, listed, [A, B, C], [B, C]), server.total_of([A, B, C]))
    message = server.agree(2, listed[1:], [A, B, C], [B, C])
    server.apply(B, message, server.total_of([B, C]))
    (_, whole), (_, part) = server.decrypted
    return server.mean(whole - part, server.mass(A))


def an_old_list_again(server: Hostile) -> Vector:
    """Round 2 is asked for first; then round 1, with two lists to choose from."""
    listed = server.collect()
    second = [server.train(name, 2) for name in (A, B, C)]
    server.agree(2, second, [A, B, C], [B, C])
    server.agree(1, listed, [A, B, C], [])
    raise AssertionError("a vote for round 1 after one for round 2")


def a_vote_for_two(server: Hostile) -> Vector:
    """bank-a's vote twice in one message makes two."""
    listed = server.collect()
    message = server.voted(listed, [A])
    server.apply(A, message.model_copy(update={"votes": message.votes * 2}), server.total_of([A, B, C]))
    message = server.voted(listed[1:], [B])
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
    server.prekeys = [server.hello(name).prekey for name in (A, B, C)]
    for name, prekey in zip((A, B, C), server.prekeys, strict=True):
        envelope = wrap(key, prekey, epoch=1, fingerprint=fingerprint(key), signer=maker)
        joining = messages.JoinRequest(statement=statement, envelope=envelope, prekeys=server.prekeys)
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
    joining = messages.JoinRequest(statement=statement, envelope=envelope, prekeys=[prekey])
    confirmed = [server.ask(B, messages.JOIN, joining).message(messages.JoinReply).confirmation]
    told = prekeys_digest([prekey])
    confirmed.append(server.fleet.signer(C).confirmation(1, statement.fingerprint, prekeys=told, newest=0))
    server.ask(B, messages.CONFIRMED, messages.ConfirmedRequest(confirmations=confirmed, prekeys=[prekey]))
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
    message = server.agree(1, [*listed[:2], wrong], [A, B, C], [B, C])
    server.apply(B, message, server.total_of([A, B, C]))
    raise AssertionError("updates under two keys were added up")


def the_model_without_everybodys_word(server: Hostile) -> Vector:
    """bank-a alone is in the list of bank-b's and bank-c's release: it has not said yes."""
    listed = server.collect()
    message = server.agree(1, listed, [A, B, C], [B, C])
    server.finish(1, message, server.total_of([A, B, C]), [A, B, C])
    moved = LAYOUT.flatten(server.model(B, server.release([B, C])).arrays()) - LAYOUT.flatten(MODEL)
    return (moved * server.mass(A, B, C) - sum(server.mass(name) * own_update(name) for name in (B, C))) / server.mass(
        A
    )


def a_model_of_its_own(server: Hostile) -> Vector:
    """A commit that one colluder has signed alone: its model would be what everybody trains on."""
    listed = server.collect()
    message = server.agree(1, listed, [A, B, C], [B, C])
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
