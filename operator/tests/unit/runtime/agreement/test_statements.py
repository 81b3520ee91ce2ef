"""What is signed: canonical bytes, a domain for each kind, and no byte that can be changed."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hanse.api.replies import ReplyCode
from hanse.pki.identity import sign
from hanse.runtime.agreement import Refused, Roster, Statement, digest_of, list_digest, new_prekey, wrap
from hanse.runtime.agreement.statements import Recomputed, Vote
from tests.unit.runtime.agreement.world import KEY, UID, World, fingerprint, world

JOB = world()
A = JOB.signers["city-a"]
DIGEST = digest_of(b"x")

MADE: dict[str, Callable[[], Statement]] = {
    "prekey": lambda: A.prekey(new_prekey().public),
    "key": lambda: A.key(1, DIGEST),
    "envelope": lambda: wrap(
        KEY, JOB.signers["city-b"].prekey(new_prekey().public), epoch=1, fingerprint=fingerprint(KEY), signer=A
    ),
    "confirmation": lambda: A.confirmation(1, DIGEST, prekeys=DIGEST, newest=3),
    "contribution": lambda: JOB.contribution("city-a")[0],
    "vote": lambda: A.vote(1, DIGEST),
    "recomputed": lambda: A.recomputed(1, DIGEST, "Seeds", DIGEST),
    "applied": lambda: A.applied(round=2, base=1, list_digest=DIGEST, sum_digest=DIGEST, model=DIGEST, state=DIGEST),
    "release": lambda: A.release(1, DIGEST, "Coordinator"),
}


@pytest.mark.parametrize("kind", MADE)
def test_every_kind_is_verified_by_its_signers_identity(kind: str) -> None:
    statement = MADE[kind]()

    JOB.roster.verify(statement)
    assert kind == statement.KIND
    assert type(statement).model_validate_json(statement.model_dump_json()) == statement


@given(kind=st.sampled_from(sorted(MADE)), data=st.data())
def test_no_single_byte_of_a_statement_can_be_changed(kind: str, data: st.DataObject) -> None:
    statement = MADE[kind]()
    text = bytearray(statement.model_dump_json().encode())
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != text[at]))

    with pytest.raises((ValidationError, Refused)):
        JOB.roster.verify(type(statement).model_validate_json(bytes(text)))


@pytest.mark.parametrize("kind", MADE)
def test_the_signed_bytes_are_canonical_and_say_what_they_are(kind: str) -> None:
    statement = MADE[kind]()
    head, _, body = statement.message().partition(b"\n")

    assert head == f"hanse.agreement.v1.{kind}".encode()
    fields = statement.model_dump(mode="json", exclude={"signature"})
    assert body == json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_a_signature_of_one_kind_is_none_of_another() -> None:
    """The same fields under another domain."""
    one = A.recomputed(1, DIGEST, "Bodies", DIGEST)
    fields = one.model_dump(exclude={"signature"})
    forged = Recomputed(
        **fields, signature=sign(JOB.keys["city-a"].private, one.message().replace(b"recomputed", b"vote", 1))
    )

    with pytest.raises(Refused, match="not signed by city-a"):
        JOB.roster.verify(forged)


@pytest.mark.parametrize(
    "other",
    [world(uid="00000000-0000-0000-0000-000000000009"), world(4), world(release="Never")],
    ids=["job", "participants", "plan"],
)
def test_a_statement_of_another_job_or_plan_is_refused(other: World) -> None:
    with pytest.raises(Refused, match="city-a is for another job or plan") as refused:
        JOB.roster.verify(other.signers["city-a"].vote(1, DIGEST))
    assert refused.value.code == ReplyCode.SIGNATURE_INVALID


def test_a_stranger_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="city-d is no participant of this job") as refused:
        JOB.roster.verify(world(4).signers["city-d"].vote(1, DIGEST))
    assert refused.value.code == ReplyCode.SIGNATURE_INVALID


def test_one_participant_cannot_speak_for_another() -> None:
    fields = A.vote(1, DIGEST).model_dump() | {"participant": "city-b"}

    with pytest.raises(Refused, match="vote of city-b is not signed by city-b"):
        JOB.roster.verify(Vote(**fields))


def test_base64_has_one_spelling() -> None:
    """The last character of 64 bytes' base64 has four bits that decoding ignores."""
    fields = A.vote(1, DIGEST).model_dump()
    text = fields["signature"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = text[:-3] + alphabet[alphabet.index(text[-3]) ^ 1] + "=="
    assert base64.b64decode(twin) == base64.b64decode(text)

    with pytest.raises(ValidationError, match="not canonical"):
        Vote(**fields | {"signature": twin})


@given(st.permutations(["city-a", "city-b", "city-c"]))
def test_a_lists_digest_is_the_same_in_any_order(names: list[str]) -> None:
    listed = [JOB.contribution(name)[0] for name in names]

    assert list_digest(listed) == list_digest(sorted(listed, key=lambda one: one.participant))


def test_a_lists_digest_holds_every_field() -> None:
    plain = JOB.contributions(["city-a", "city-b"])
    changes: list[dict[str, Any]] = [
        {"attempt": 2},
        {"base": DIGEST},
        {"asked": DIGEST},
        {"digest": DIGEST},
        {"halves": {"Bodies": DIGEST, "Seeds": plain[1].seeds}},
        {"halves": {"Bodies": plain[1].bodies, "Seeds": DIGEST}},
        {"scale": "0.50"},
        {"epoch": 2},
        {"round": 2},
    ]
    others = [[plain[0], JOB.contribution("city-b", **change)[0]] for change in changes]

    assert len({list_digest(one) for one in [plain, plain[:1], *others]}) == 2 + len(changes)


def test_a_roster_has_each_name_and_owner_once_and_its_maker() -> None:
    plan = JOB.plan
    with pytest.raises(ValueError, match="twice"):
        Roster(plan.model_copy(update={"roster": [*plan.roster, plan.roster[0]]}), UID)
    twin = plan.roster[1].model_copy(update={"name": "city-x"})
    with pytest.raises(ValueError, match="city-b and city-x have one identity"):
        Roster(plan.model_copy(update={"roster": [*plan.roster, twin]}), UID)
    with pytest.raises(ValueError, match="maker"):
        Roster(plan.model_copy(update={"key_maker": "city-h"}), UID)


def test_a_private_key_is_in_no_representation() -> None:
    pair = new_prekey()

    assert "PRIVATE" not in repr(A)
    assert repr(pair.private) not in repr(pair)
