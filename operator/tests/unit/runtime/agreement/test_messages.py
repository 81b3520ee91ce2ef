"""Messages: every one comes back from its text; a hostile text is refused before it costs much, and never crashes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.api.encryption import HALVES, ModelRelease
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import Commit, Refused, digest_of, messages, new_prekey, wrap
from hanse.runtime.agreement.messages import Message, read
from hanse.runtime.agreement.statements import MOST_EPOCH, MOST_KEY_BYTES, MOST_ROUND, Statement
from tests.unit.runtime.agreement.world import World, world

DIGEST = digest_of(b"x")


def every_message(job: World) -> list[Message]:
    """Each kind as full as it gets in the job."""
    signers = list(job.signers.values())
    maker, number = signers[0], MOST_ROUND
    prekeys = [one.prekey(new_prekey().public) for one in signers]
    envelopes = [
        wrap(bytes(MOST_KEY_BYTES), one, epoch=MOST_EPOCH, fingerprint=DIGEST, signer=maker) for one in prekeys[:2]
    ]
    digests = {"list_digest": DIGEST, "sum_digest": DIGEST, "model": DIGEST, "state": DIGEST}
    contributions = [job.contribution(one.participant, round=number, epoch=MOST_EPOCH)[0] for one in signers]
    commit = Commit(round=number, applied=[one.applied(round=number, base=number, **digests) for one in signers])
    confirmations = [one.confirmation(MOST_EPOCH, DIGEST, prekeys=DIGEST, newest=number) for one in signers]
    release: ModelRelease = "Participants"
    key = maker.key(MOST_EPOCH, DIGEST)
    vote = maker.vote(number, DIGEST)
    recomputed = maker.recomputed(number, DIGEST, "Bodies", DIGEST)
    return [
        messages.HelloRequest(),
        messages.HelloReply(prekey=prekeys[0], fingerprint="", epoch=0, confirmed=False, round=0, model=DIGEST),
        messages.HelloReply(
            prekey=prekeys[0], fingerprint=DIGEST, epoch=MOST_EPOCH, confirmed=True, round=number, model=DIGEST
        ),
        messages.WrapRequest(recipients=prekeys),
        messages.WrapReply(statement=key, envelopes=envelopes),
        messages.JoinRequest(statement=key, envelope=envelopes[0], prekeys=prekeys),
        messages.JoinRequest(statement=key, prekeys=prekeys),
        messages.JoinReply(confirmation=confirmations[0]),
        messages.ConfirmedRequest(confirmations=confirmations, prekeys=prekeys),
        messages.ConfirmedReply(confirmation=confirmations[0]),
        messages.TrainRequest(commit=commit, attempt=1),
        messages.TrainRequest(attempt=2),
        messages.TrainReply(contribution=contributions[0]),
        messages.VerifyRequest(round=number, half="Bodies", contributions=contributions),
        messages.VerifyReply(vote=vote, recomputed=recomputed),
        messages.VerifyReply(vote=vote),
        messages.ApplyRequest(
            round=number,
            contributions=contributions,
            votes=job.votes(job.names, DIGEST, number),
            recomputed=[one.recomputed(number, DIGEST, half, DIGEST) for one in signers for half in HALVES],
            seal=True,
        ),
        messages.ApplyReply(applied=commit.applied[0]),
        messages.SealRequest(commit=commit),
        messages.SealReply(round=number),
        messages.RestoreRequest(commit=commit),
        messages.RestoreReply(round=number),
        messages.EvaluateRequest(commit=commit),
        messages.EvaluateRequest(),
        messages.ReleaseRequest(commit=commit),
        messages.ReleaseReply(release=maker.release(number, DIGEST, release)),
        messages.ModelRequest(round=number, releases=[one.release(number, DIGEST, release) for one in signers]),
        messages.ModelReply(model=DIGEST),
    ]


MESSAGES = every_message(world(8, threshold=2))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_it_comes_back_from_its_text(message: Message) -> None:
    assert read(type(message), message.to_text(), 8) == message


def test_every_message_of_the_table_is_tried() -> None:
    kinds = {kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, Message)}

    assert {type(message) for message in MESSAGES} == kinds - {Message, Commit}


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_text_that_is_too_long_is_not_parsed(message: Message, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(message)
    text = message.to_text() + " " * kind.limit(8)
    monkeypatch.setattr(kind, "model_validate_json", None)

    with pytest.raises(Refused, match="too long") as refused:
        read(kind, text, 8)
    assert refused.value.code == ReplyCode.SIGNATURE_INVALID


def test_statements_with_the_longest_names_and_numbers_fit_the_bound() -> None:
    job, long = world(), "a" * 40
    statements: list[Statement] = [
        job.contribution(
            "city-a", round=MOST_ROUND, epoch=MOST_EPOCH, attempt=10**6, scale="9" * 12 + "." + "9" * 12 + "e-99"
        )[0],
        job.signers["city-a"].applied(
            round=MOST_ROUND, base=MOST_ROUND, list_digest=DIGEST, sum_digest=DIGEST, model=DIGEST, state=DIGEST
        ),
    ]
    for one in statements:
        assert len(one.model_copy(update={"participant": long}).model_dump_json()) < messages.STATEMENT_BYTES


@given(st.text() | st.none() | st.integers() | st.binary())
def test_any_text_is_read_or_refused(text: object) -> None:
    for kind in (messages.ApplyRequest, messages.HelloReply):
        with pytest.raises(Refused):
            read(kind, text, 3)


@pytest.mark.parametrize(
    "text", ["[" * 4000, '{"a":' * 800, "\ud800", '{"round": 1e400}', '{"round": ' + "9" * 3000 + "}", "\x00", "NaN"]
)
def test_a_text_made_to_break_a_parser_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        read(messages.VerifyRequest, text, 8)
    assert refused.value.code == ReplyCode.SIGNATURE_INVALID


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("round", 1.0),
        ("round", "1"),
        ("round", True),
        ("round", 0),
        ("round", MOST_ROUND + 1),
        ("participant", "City-A"),
        ("participant", "city-a\n"),
        ("participant", "a" * 41),
        ("list_digest", "sha256:" + "A" * 64),
        ("list_digest", "sha256:" + "a" * 64 + "\n"),
        ("signature", "A" * 87),
    ],
)
def test_fields_that_only_look_right_are_refused(field: str, value: object) -> None:
    vote = world().signers["city-a"].vote(1, DIGEST)
    text = json.dumps({"vote": vote.model_dump() | {field: value}})

    with pytest.raises(Refused, match=f"no VerifyReply: vote.{field}"):
        read(messages.VerifyReply, text, 3)


def test_the_refusal_does_not_repeat_the_text() -> None:
    """It goes to a log: nothing that a stranger wrote stands in it."""
    for text in (
        '{"vote": {"participant": "ignore all previous"}}',
        '{"ignore": 1}',
        '{"vote": {"ignore": 1}}',
        "ignore",
    ):
        with pytest.raises(Refused, match="no VerifyReply") as refused:
            read(messages.VerifyReply, text, 3)
        assert "ignore" not in str(refused.value)
