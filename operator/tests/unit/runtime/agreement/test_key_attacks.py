"""The key on its way: a server that wants gates to take its own key, or to be given theirs; with controls."""

import base64
from collections.abc import Sequence
from types import ModuleType

import pytest

from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import (
    Confirmation,
    Envelope,
    KeyStatement,
    Prekey,
    PrekeyPair,
    Refused,
    Signer,
    checks,
    digest_of,
    new_prekey,
    prekeys_digest,
    roster,
    unwrap,
    wrap,
    wrapping,
)
from hanse.runtime.agreement.statements import MOST_KEY_BYTES
from tests.unit.runtime.agreement.cases import Case, Row, tried
from tests.unit.runtime.agreement.mutants import without
from tests.unit.runtime.agreement.world import KEY, OTHER_KEY, UID, fingerprint, world

JOB = world()
A, B, C = JOB.signers.values()
EVIL = b"a key of the server"


class Joining:
    """city-b's gate, which asks for the key. `take` is what the real one does with a he_join message."""

    def __init__(self, judge: ModuleType = checks, opener: ModuleType = wrapping) -> None:
        self.pair: PrekeyPair = new_prekey()
        self.prekey: Prekey = B.prekey(self.pair.public)
        self.judge, self.opener, self.roster = judge, opener, JOB.roster
        self.known: str | None = None

    def take(self, statement: KeyStatement, envelope: Envelope) -> bytes:
        about = {"roster": self.roster, "me": "city-b", "prekey": self.pair.public, "known": self.known}
        self.judge.check_key(statement, envelope, **about)
        key: bytes = self.opener.unwrap(envelope, self.pair, fingerprint)
        return key


def sealed(gate: Joining, key: bytes = KEY, sender: Signer = A, *, said: bytes | None = None) -> Envelope:
    """An envelope for the gate; `said` is the key whose fingerprint stands on it."""
    return wrap(key, gate.prekey, epoch=1, fingerprint=fingerprint(said or key), signer=sender)


def another_maker(gate: Joining) -> bytes:
    """A participant that is not the maker, and colludes with the server."""
    return gate.take(C.key(1, fingerprint(EVIL)), sealed(gate, EVIL, C))


def a_stranger_makes_it(gate: Joining) -> bytes:
    stranger = Signer(world(4).keys["city-d"].private, "city-d", JOB.roster.agreement)
    return gate.take(stranger.key(1, fingerprint(EVIL)), sealed(gate, EVIL, stranger))


def a_maker_without_the_makers_signature(gate: Joining) -> bytes:
    forged = C.key(1, fingerprint(EVIL)).model_copy(update={"maker": "city-a"})
    return gate.take(forged, sealed(gate, EVIL, C))


def an_envelope_of_another_key(gate: Joining) -> bytes:
    """The maker's own word, beside an envelope by a participant that colludes."""
    return gate.take(A.key(1, fingerprint(KEY)), sealed(gate, EVIL, C))


def an_envelope_that_lies_about_its_key(gate: Joining) -> bytes:
    return gate.take(A.key(1, fingerprint(KEY)), sealed(gate, EVIL, C, said=KEY))


def an_envelope_that_nobody_signed(gate: Joining) -> bytes:
    """HPKE's base mode lets anybody seal to the prekey."""
    forged = sealed(gate, EVIL, C, said=KEY).model_copy(update={"sender": "city-a"})
    return gate.take(A.key(1, fingerprint(KEY)), forged)


def a_second_key(gate: Joining) -> bytes:
    """A maker that lost its key, or lies, names another one to a gate that has confirmed one."""
    gate.known = fingerprint(KEY)
    return gate.take(A.key(2, fingerprint(OTHER_KEY)), sealed_at(2, gate, OTHER_KEY))


def sealed_at(epoch: int, gate: Joining, key: bytes) -> Envelope:
    return wrap(key, gate.prekey, epoch=epoch, fingerprint=fingerprint(key), signer=A)


CODE = ReplyCode
REFUSED: list[Row[Joining]] = [
    (another_maker, CODE.KEY_REFUSED, "city-c says what the key is, but city-a makes it", checks, "says what the key"),
    (a_stranger_makes_it, CODE.SIGNATURE_INVALID, "city-d is no participant", roster, "no participant"),
    (
        a_maker_without_the_makers_signature,
        CODE.SIGNATURE_INVALID,
        "key of city-a is not signed by city-a",
        roster,
        "is not signed",
    ),
    (an_envelope_of_another_key, CODE.KEY_REFUSED, "envelope of city-c holds another key", checks, "holds another key"),
    (an_envelope_that_lies_about_its_key, CODE.KEY_REFUSED, "than it says", wrapping, "holds another key than it says"),
    (a_second_key, CODE.KEY_REFUSED, "city-a names another key than", checks, "names another key"),
]


@tried(REFUSED)
def test_it_is_refused_by_name(case: Case[Joining]) -> None:
    case.is_refused(Joining())


@tried(REFUSED)
def test_without_that_refusal_the_gate_takes_the_key(case: Case[Joining]) -> None:
    mutant = case.mutant()
    gate = Joining(mutant if case.module is checks else checks, mutant if case.module is wrapping else wrapping)
    if case.module is roster:
        gate.roster = mutant.Roster(JOB.plan, UID)
    if case.attack is a_stranger_makes_it:
        gate.judge = without(checks, "says what the key")  # two stand in the way of a stranger
        lookup = gate.roster.member
        gate.roster.member = lambda name: lookup(name) or world(4).plan.member(name)  # type: ignore[method-assign]

    assert case.attack(gate) in (EVIL, OTHER_KEY)


def test_an_envelope_that_nobody_signed_is_refused_twice() -> None:
    """By the signature; and HPKE's info holds the sender, so it would not open either."""
    with pytest.raises(Refused, match="envelope of city-a is not signed by city-a"):
        an_envelope_that_nobody_signed(Joining())

    gate = Joining()
    gate.roster = without(roster, "is not signed").Roster(JOB.plan, UID)
    with pytest.raises(Refused, match="envelope of city-a does not open"):
        an_envelope_that_nobody_signed(gate)


def test_the_maker_and_later_any_holder_hand_out_the_key() -> None:
    gate = Joining()

    assert gate.take(A.key(1, fingerprint(KEY)), sealed(gate)) == KEY
    gate.known = fingerprint(KEY)
    assert gate.take(A.key(1, fingerprint(KEY)), sealed(gate, KEY, C)) == KEY


def test_an_envelope_for_another_gate_is_refused() -> None:
    """Another participant's, or the one that this participant's last process has asked for."""
    gate, statement = Joining(), A.key(1, fingerprint(KEY))
    others = wrap(KEY, C.prekey(gate.pair.public), epoch=1, fingerprint=fingerprint(KEY), signer=A)
    with pytest.raises(Refused, match="envelope of city-a is not for this gate of city-b"):
        gate.take(statement, others)
    with pytest.raises(Refused, match="envelope of city-a is not for this gate of city-b"):
        gate.take(statement, sealed(Joining()))


@pytest.mark.parametrize("field", ["epoch", "sender", "recipient", "prekey", "fingerprint", "agreement"])
def test_every_field_of_an_envelope_is_sealed_in(field: str) -> None:
    gate = Joining()
    other = {
        "epoch": 2,
        "sender": "city-c",
        "recipient": "city-c",
        "prekey": new_prekey().public,
        "fingerprint": digest_of(b"x"),
        "agreement": digest_of(b"y"),
    }[field]

    with pytest.raises(Refused, match="does not open"):
        unwrap(sealed(gate).model_copy(update={field: other}), gate.pair, fingerprint)


def test_a_prekey_that_nothing_can_be_sealed_to_is_refused() -> None:
    """X25519 with a point of low order gives the same secret for every key."""
    with pytest.raises(Refused, match="prekey of city-b is no key to seal to") as refused:
        wrap(KEY, B.prekey(base64.b64encode(bytes(32)).decode()), epoch=1, fingerprint=fingerprint(KEY), signer=A)
    assert refused.value.code == CODE.KEY_REFUSED


def test_bytes_that_are_no_envelope_do_not_open() -> None:
    gate = Joining()
    for junk in (b"", b"x", bytes(31), bytes(48)):
        empty = A.envelope(1, "city-b", gate.pair.public, fingerprint(KEY), base64.b64encode(junk).decode())
        with pytest.raises(Refused, match="does not open"):
            unwrap(empty, gate.pair, fingerprint)


def test_the_servers_prekey_gets_no_envelope() -> None:
    """It puts its own public key under city-b's name, or city-b's last one under city-c's."""
    gate, mine = Joining(), new_prekey().public
    for forged in (
        gate.prekey.model_copy(update={"public": mine}),
        gate.prekey.model_copy(update={"participant": "city-c"}),
    ):
        with pytest.raises(Refused, match="is not signed by city-") as refused:
            checks.check_prekeys([forged], JOB.roster)
        assert refused.value.code == CODE.SIGNATURE_INVALID

    forged = gate.prekey.model_copy(update={"public": mine})
    checks.check_prekeys([forged], without(roster, "is not signed").Roster(JOB.plan, UID))  # the control


def test_a_participant_cannot_ask_twice_in_one_message() -> None:
    with pytest.raises(Refused, match="city-b stands twice in a list of prekey"):
        checks.check_prekeys([Joining().prekey, Joining().prekey], JOB.roster)


def test_more_prekeys_than_participants_are_not_even_verified() -> None:
    with pytest.raises(Refused, match="4 statements, but the job has 3 participants"):
        checks.check_prekeys([Joining().prekey.model_copy(update={"participant": "nobody"})] * 4, JOB.roster)


def confirmation(
    signer: Signer, key: bytes = KEY, *, epoch: int = 1, prekeys: Sequence[Prekey] = (), newest: int = 0
) -> Confirmation:
    """The word of who holds the key, to the gates of `prekeys`."""
    return signer.confirmation(epoch, fingerprint(key), prekeys=prekeys_digest(prekeys), newest=newest)


def test_a_quorum_must_confirm_one_key() -> None:
    about = {"roster": JOB.roster, "epoch": 1, "fingerprint": fingerprint(KEY)}
    mine, other = [confirmation(one) for one in (A, B)], confirmation(C, EVIL)

    checks.check_confirmations(mine, **about)  # type: ignore[arg-type]
    for bad, code, words in (
        (mine[:1], CODE.TOO_FEW_CONTRIBUTIONS, "1 participants hold the key, 2 must"),
        ([*mine, other], CODE.KEY_REFUSED, "city-c has confirmed another key"),
        (mine[:1] * 2, CODE.SUM_REFUSED, "city-a stands twice"),
        ([mine[0], confirmation(B, epoch=2)], CODE.KEY_REFUSED, "city-b has confirmed another key"),
        (
            [mine[0], mine[0].model_copy(update={"participant": "city-b"})],
            CODE.SIGNATURE_INVALID,
            "not signed by city-b",
        ),
    ):
        with pytest.raises(Refused, match=words) as refused:
            checks.check_confirmations(bad, **about)  # type: ignore[arg-type]
        assert refused.value.code == code


def test_key_material_has_a_bound() -> None:
    with pytest.raises(ValueError, match="key material of"):
        wrap(bytes(MOST_KEY_BYTES + 1), Joining().prekey, epoch=1, fingerprint=fingerprint(KEY), signer=A)


# -- whoever begins is told how far the others are


def begin(said: Sequence[Confirmation], prekeys: Sequence[Prekey], mine: Prekey, judge: ModuleType = checks) -> int:
    about = {"roster": JOB.roster, "prekey": mine.public, "epoch": 1, "fingerprint": fingerprint(KEY)}
    after: int = judge.check_begin(said, prekeys, **about)
    return after


def test_who_begins_learns_the_newest_round_of_a_quorum() -> None:
    mine = B.prekey(new_prekey().public)
    others = [C.prekey(new_prekey().public)]
    asked = [mine, *others]

    said = [confirmation(B, prekeys=asked), confirmation(A, prekeys=asked[::-1], newest=3)]
    assert begin(said, asked, mine) == 3
    assert begin([said[0], confirmation(A, prekeys=asked, newest=900_000)], asked, mine) == JOB.plan.rounds


def test_what_was_said_before_its_time_does_not_count() -> None:
    """The server keeps what all said before round 1, and shows it to a gate whose pod was replaced in round 3."""
    mine, before = B.prekey(new_prekey().public), [B.prekey(new_prekey().public)]
    old = [confirmation(one, prekeys=before) for one in (A, C)]

    with pytest.raises(Refused, match="1 participants hold the key, 2 must"):
        begin([confirmation(B, prekeys=[mine]), *old], [mine], mine)
    with pytest.raises(Refused, match="has not said so to this gate") as refused:
        begin([confirmation(B, prekeys=before), *old], before, mine)
    assert refused.value.code == CODE.KEY_REFUSED
    control = without(checks, "has not said so to this gate")
    assert begin([confirmation(B, prekeys=before), *old], before, mine, control) == 0
