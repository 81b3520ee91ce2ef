"""The messages between server and gates: a request and a reply for each row of the protocol's table.

Text is JSON in the ConfigRecord "he" as {"text": …}; bytes travel as uint8 arrays in the ArrayRecord that is named
here. The server (`hanse.runtime.flower`) sends requests and reads replies, the gate (`hanse.runtime.gate`) the reverse.
`read` bounds a text by the roster before it parses it.
"""

from typing import Annotated, ClassVar, Final, TypeVar

from pydantic import Field, ValidationError

from hanse.api.encryption import Digest, Half
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement.statements import (
    MOST_ATTEMPT,
    MOST_SEALED_BYTES,
    Applied,
    BaseRound,
    Confirmation,
    Contribution,
    Envelope,
    KeyStatement,
    Prekey,
    Recomputed,
    Release,
    Round,
    Strict,
    Vote,
)
from hanse.runtime.refused import Refused

HELLO: Final = "query.he_hello"
WRAP: Final = "query.he_wrap"
JOIN: Final = "query.he_join"
CONFIRMED: Final = "query.he_confirmed"
TRAIN: Final = "train"
VERIFY: Final = "query.he_verify"
APPLY: Final = "query.he_apply"
SEAL: Final = "query.he_seal"
RESTORE: Final = "query.he_restore"
EVALUATE: Final = "evaluate"
RELEASE: Final = "query.he_release"
MODEL: Final = "query.he_model"

#: ConfigRecord with the text, and its key.
RECORD: Final = "he"
TEXT: Final = "text"
#: ArrayRecord of a train reply, and the array in it.
UPDATE: Final = "update"
CIPHERTEXT: Final = "ciphertext"
#: ArrayRecord of a he_verify request to verifiers: half the ciphertext of each participant, by name.
CIPHERTEXTS: Final = "ciphertexts"
#: ArrayRecord of a he_apply request, and the array in it.
SUM: Final = "sum"
#: ArrayRecord of a he_apply or he_seal reply and a he_restore request, and the array in it.
STATE: Final = "state"
SEALED: Final = "sealed"
#: ArrayRecord of a he_model reply: the model's arrays by name.
ARRAYS: Final = "arrays"

#: Bytes of JSON that any statement but an envelope stays below.
STATEMENT_BYTES: Final = 1024
#: Most participants of any job.
MOST: Final = 1024
#: Envelopes in one reply: the server asks a holder for groups of so many recipients.
MOST_ENVELOPES: Final = 64


class Message(Strict):
    """Base. `LISTS` is how many lists of a statement for each participant it may hold."""

    LISTS: ClassVar[int] = 0
    ENVELOPES: ClassVar[int] = 0

    @classmethod
    def limit(cls, members: int) -> int:
        """Most characters that the text of one among so many participants may have."""
        envelope = STATEMENT_BYTES + MOST_SEALED_BYTES * 4 // 3
        # One statement more than the lists hold, and what stands around them.
        return (cls.LISTS * members + 4) * STATEMENT_BYTES + min(cls.ENVELOPES, members) * envelope

    def to_text(self) -> str:
        """The JSON text. Equal messages have equal texts."""
        return self.model_dump_json()


M = TypeVar("M", bound=Message)


def read(model: type[M], text: object, members: int) -> M:
    """The message in a text of a stranger, in a job of so many participants.

    Raises Refused(SIGNATURE_INVALID) for what is too long or is no such message.
    """
    if not isinstance(text, str) or len(text) > model.limit(members):
        raise Refused(ReplyCode.SIGNATURE_INVALID, f"no text of a {model.__name__}, or one that is too long")
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise Refused(ReplyCode.SIGNATURE_INVALID, f"no {model.__name__}: {_first(error)}"[:256]) from None
    except ValueError:  # a surrogate: no UTF-8
        raise Refused(ReplyCode.SIGNATURE_INVALID, f"no {model.__name__}: not UTF-8") from None


def _first(error: ValidationError) -> str:
    """Where and what, without a word of the text: it goes to a log."""
    what = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = what["loc"][:-1] if what["type"] == "extra_forbidden" else what["loc"]
    return f"{'.'.join(map(str, where))} {what['msg']}"


_List = Field(max_length=MOST)


class Commit(Message):
    """A round's model is the job's: enough equal statements say so. Carried by whatever message comes next."""

    LISTS = 1

    round: Round
    applied: Annotated[list[Applied], _List]


# --- keys ------------------------------------------------------------------------------------------------------------


class HelloRequest(Message):
    """To all, at the start and after any gate was away."""


class HelloReply(Message):
    """Where a gate stands. Without a key `fingerprint` is ""; `round` is the last committed one, `model` its digest.

    Until it is `confirmed` a quorum must tell it, that is its prekey, that they hold the key and how far they are.
    """

    prekey: Prekey
    fingerprint: Digest | Annotated[str, Field(max_length=0)]
    epoch: Annotated[int, Field(ge=0)]
    confirmed: bool
    round: BaseRound
    model: Digest


class WrapRequest(Message):
    """To the maker first, to any holder later. The maker without a key makes it, once."""

    LISTS = 1

    recipients: Annotated[list[Prekey], Field(max_length=MOST_ENVELOPES)]


class WrapReply(Message):
    """The key for each recipient that was asked for."""

    ENVELOPES = MOST_ENVELOPES

    statement: KeyStatement
    envelopes: Annotated[list[Envelope], Field(max_length=MOST_ENVELOPES)]


class JoinRequest(Message):
    """To a gate without the key, with its envelope; to who holds it, for its word to the gates of `prekeys`."""

    LISTS = 1
    ENVELOPES = 1

    statement: KeyStatement
    envelope: Envelope | None = None
    prekeys: Annotated[list[Prekey], _List]


class JoinReply(Message):
    """It holds the key."""

    confirmation: Confirmation


class ConfirmedRequest(Message):
    """To each gate: who holds the key, and to whom those of this time have said so."""

    LISTS = 2

    confirmations: Annotated[list[Confirmation], _List]
    prekeys: Annotated[list[Prekey], _List]


class ConfirmedReply(Message):
    """It has seen a quorum; from now on it contributes. `confirmation` is its own, also the maker's."""

    confirmation: Confirmation


# --- rounds ----------------------------------------------------------------------------------------------------------


class TrainRequest(Message):
    """With the message's config; no arrays."""

    LISTS = 1

    commit: Commit | None = None
    attempt: int = Field(ge=1, le=MOST_ATTEMPT)


class TrainReply(Message):
    """With arrays "update"{"ciphertext"} and num-examples."""

    contribution: Contribution


class VerifyRequest(Message):
    """To all; to verifiers with `half` and that half of each ciphertext, arrays "ciphertexts"{name: bytes}."""

    LISTS = 1

    round: Round
    half: Half | None = None
    contributions: Annotated[list[Contribution], _List]


class VerifyReply(Message):
    """From verifiers with the digest of the sum of halves that they have computed."""

    vote: Vote
    recomputed: Recomputed | None = None


class ApplyRequest(Message):
    """With arrays "sum"{"sum"}."""

    LISTS = 4  # where a plan does not keep halves apart, a verifier may speak of both

    round: Round
    contributions: Annotated[list[Contribution], _List]
    votes: Annotated[list[Vote], _List]
    recomputed: Annotated[list[Recomputed], Field(max_length=2 * MOST)]
    seal: bool = False


class ApplyReply(Message):
    """With arrays "state"{"sealed"} from the one that was asked to seal."""

    applied: Applied


class SealRequest(Message):
    """To a gate that stands at the commit, when another one lacks that state and nobody has sealed it."""

    LISTS = 1

    commit: Commit


class SealReply(Message):
    """It stands at the round; with arrays "state"{"sealed"}."""

    round: BaseRound


class RestoreRequest(Message):
    """To a gate that lacks the committed state; with arrays "state"{"sealed"}."""

    LISTS = 1

    commit: Commit


class RestoreReply(Message):
    """It stands at the round."""

    round: BaseRound


class EvaluateRequest(Message):
    """With the message's config; no arrays. Without a commit: on the model that is committed already."""

    LISTS = 1

    commit: Commit | None = None


# --- the end ---------------------------------------------------------------------------------------------------------


class ReleaseRequest(Message):
    """To every contributor: the last round's commit."""

    LISTS = 1

    commit: Commit


class ReleaseReply(Message):
    """It lets the model go."""

    release: Release


class ModelRequest(Message):
    """To one gate (Coordinator) or all (Participants: each writes its own); the reply's arrays are the model."""

    LISTS = 1

    round: Round
    releases: Annotated[list[Release], _List]


class ModelReply(Message):
    """With arrays "arrays" to the coordinator; nothing else when the gate has written the model to its owner."""

    model: Digest
