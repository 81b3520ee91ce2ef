"""What a participant signs: one frozen model for each kind of statement, and the bytes under its signature.

Used by gates and server. The bytes are a domain string of the kind and canonical JSON of every field but the
signature, so no statement can pass for one of another kind, job or plan. Every string has a pattern and a bound: the
sender may be hostile. Equal statements have equal text: base64 must be canonical.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hanse.api.encryption import Digest, Half, ModelRelease
from hanse.api.meta import PositiveDecimal, ShortName

#: Ed25519 signature (RFC 8032) and X25519 public key (RFC 7748), bytes.
SIGNATURE_BYTES: Final = 64
PUBLIC_KEY_BYTES: Final = 32
#: Largest key material that an engine may have: a whole secret key of SEAL at N=8192 is below half of it.
MOST_KEY_BYTES: Final = 512 << 10
#: HPKE adds the encapsulated key (32) and the tag (16).
MOST_SEALED_BYTES: Final = MOST_KEY_BYTES + 48
MOST_ROUND: Final = 1_000_000
MOST_ATTEMPT: Final = 1_000_000
MOST_EPOCH: Final = 1_000_000

_DOMAIN: Final = "hanse.agreement.v1."


def _canonical_base64(text: str) -> str:
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise ValueError("not base64") from error
    if base64.b64encode(data).decode() != text:
        raise ValueError("not canonical base64")
    return text


def _base64_of(size: int) -> int:
    """Length of the base64 text of so many bytes."""
    return -(-size // 3) * 4


def _exactly(size: int) -> Any:
    length = _base64_of(size)
    return Field(min_length=length, max_length=length)


Signature = Annotated[str, _exactly(SIGNATURE_BYTES), AfterValidator(_canonical_base64)]
PublicKey = Annotated[str, _exactly(PUBLIC_KEY_BYTES), AfterValidator(_canonical_base64)]
Sealed = Annotated[str, Field(max_length=_base64_of(MOST_SEALED_BYTES)), AfterValidator(_canonical_base64)]
Round = Annotated[int, Field(ge=1, le=MOST_ROUND)]
#: A round whose model is committed; 0 is the first model.
BaseRound = Annotated[int, Field(ge=0, le=MOST_ROUND)]
Epoch = Annotated[int, Field(ge=1, le=MOST_EPOCH)]


class Strict(BaseModel):
    """Frozen; unknown keys and types that only look alike (1.0, "1") are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Statement(Strict):
    """Base of what is signed."""

    KIND: ClassVar[str]

    agreement: Digest
    signature: Signature

    @property
    def signer(self) -> str:
        """Name of the participant that must have signed it."""
        raise NotImplementedError

    def message(self) -> bytes:
        """The bytes under the signature."""
        return signed_bytes(self.KIND, self.model_dump(mode="json", exclude={"signature"}))


def signed_bytes(kind: str, content: dict[str, Any]) -> bytes:
    """Domain string of the kind, a line feed, canonical JSON (sorted keys, no blanks, UTF-8; as hanse.api.planhash)."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"{_DOMAIN}{kind}\n{text}".encode()


def digest_of(data: bytes | bytearray | memoryview) -> str:
    """`sha256:…` of a ciphertext, a sum or any other bytes that statements name."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class _ByParticipant(Statement):
    participant: ShortName

    @property
    def signer(self) -> str:
        return self.participant


class Prekey(_ByParticipant):
    """A fresh X25519 public key of one gate process; its private half never leaves that process' memory."""

    KIND = "prekey"

    public: PublicKey


class KeyStatement(Statement):
    """The maker's word on which key is the job's."""

    KIND = "key"

    epoch: Epoch
    maker: ShortName
    fingerprint: Digest

    @property
    def signer(self) -> str:
        return self.maker


class Envelope(Statement):
    """The job's key for one recipient, by anybody who holds it: HPKE (RFC 9180) to the recipient's prekey.

    Base mode does not tell who sealed it, hence the sender's signature; every other field is in HPKE's info too.
    """

    KIND = "envelope"

    epoch: Epoch
    sender: ShortName
    recipient: ShortName
    prekey: PublicKey
    fingerprint: Digest
    sealed: Sealed

    @property
    def signer(self) -> str:
        return self.sender


class Confirmation(_ByParticipant):
    """A gate holds the key with this fingerprint, and never takes another one in this job.

    `newest` is the newest round that it has had any part in, said to the gate processes that have just drawn `prekeys`
    (`prekeys_digest`): one of them that has taken a lost gate's place cannot be told what was true before its time.
    """

    KIND = "confirmation"

    epoch: Epoch
    fingerprint: Digest
    prekeys: Digest
    newest: BaseRound


class Contribution(_ByParticipant):
    """One encrypted update. `scale` is the roster's factor, `digest` the ciphertext's, `base` the model's it is of.

    `bodies` and `seeds` are the digests of the ciphertext's halves, as verifiers get them.
    `asked` is `asked_digest` of what the app was told beside the model: a server that tells each something else (a
    learning rate of 0, statistics that blot out the features) would make a sum of one update and many zeros (model
    inconsistency: Pasquini, Francati, Ateniese, CCS 2022).
    """

    KIND = "contribution"

    epoch: Epoch
    fingerprint: Digest
    round: Round
    attempt: int = Field(ge=1, le=MOST_ATTEMPT)
    scale: PositiveDecimal
    digest: Digest
    bodies: Digest
    seeds: Digest
    base: Digest
    asked: Digest

    def half(self, half: Half) -> str:
        """Digest of one half of the ciphertext."""
        return self.bodies if half == "Bodies" else self.seeds


class Vote(_ByParticipant):
    """The one list of contributions that this gate takes for the round."""

    KIND = "vote"

    round: Round
    list_digest: Digest


class Recomputed(_ByParticipant):
    """A verifier has hashed and added one half of each ciphertext of the list itself: this is the sum of these."""

    KIND = "recomputed"

    round: Round
    list_digest: Digest
    half: Half
    sum_digest: Digest


class Applied(_ByParticipant):
    """What a gate made of the round: digests of the model's arrays and of the rest of the state, from model `base`."""

    KIND = "applied"

    round: Round
    base: BaseRound
    list_digest: Digest
    sum_digest: Digest
    model: Digest
    state: Digest


class Release(_ByParticipant):
    """This owner lets the plain model of the round go to so many."""

    KIND = "release"

    round: Round
    model: Digest
    to: ModelRelease


def asked_digest(configs: Mapping[str, Mapping[str, Any]]) -> str:
    """`sha256:…` of the config records that an app gets with the model. Raises ValueError for what JSON has not."""
    try:
        return digest_of(signed_bytes("asked", {name: dict(values) for name, values in configs.items()}))
    except TypeError as error:
        raise ValueError("the message's config holds what is neither number, text nor list") from error


def prekeys_digest(prekeys: Sequence[Prekey]) -> str:
    """`sha256:…` of the prekeys of gates that ask how far the job is: the same whatever their order."""
    return digest_of(signed_bytes("prekeys", {"prekeys": sorted(one.message().decode() for one in prekeys)}))


def list_digest(contributions: list[Contribution]) -> str:
    """`sha256:…` of a list of contributions, by participant's name: the same whatever the order and the signatures."""
    ordered = sorted(contributions, key=lambda one: one.participant)
    return digest_of(signed_bytes("list", {"contributions": [one.message().decode() for one in ordered]}))
