"""The job's key on its way to another gate: HPKE to its prekey. Used by gates alone; the server relays text.

RFC 9180 base mode: X25519, HKDF-SHA256, AES-256-GCM. All fields of the envelope stand in HPKE's info, so bytes that are
moved to another envelope do not open. Base mode says nothing about who sealed: the envelope's signature does.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from hanse.api.replies import ReplyCode
from hanse.runtime.agreement.roster import Signer
from hanse.runtime.agreement.statements import MOST_KEY_BYTES, Envelope, Prekey, signed_bytes
from hanse.runtime.refused import Refused

_SUITE: Final = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


@dataclass(frozen=True)
class PrekeyPair:
    """A gate process' own: `public` is base64, the private half stays in memory."""

    public: str
    private: X25519PrivateKey = field(repr=False)


def new_prekey() -> PrekeyPair:
    """A fresh pair."""
    private = X25519PrivateKey.generate()
    return PrekeyPair(base64.b64encode(private.public_key().public_bytes_raw()).decode(), private)


def wrap(key: bytes, prekey: Prekey, *, epoch: int, fingerprint: str, signer: Signer) -> Envelope:
    """The key for one recipient, whose prekey has passed `check_prekeys`.

    Raises Refused(KEY_REFUSED): the prekey is none that anything can be sealed to. ValueError: key too long.
    """
    if len(key) > MOST_KEY_BYTES:
        raise ValueError(f"key material of {len(key)} bytes")
    info = _info(signer.agreement, epoch, signer.participant, prekey.participant, prekey.public, fingerprint)
    try:
        public = X25519PublicKey.from_public_bytes(base64.b64decode(prekey.public))
        sealed = _SUITE.encrypt(key, public, info)
    # A point of low order: the exchange is refused by the library, as RFC 9180, 7.1.4 asks.
    except (ValueError, RuntimeError) as error:
        why = f"prekey of {prekey.participant} is no key to seal to"
        raise Refused(ReplyCode.KEY_REFUSED, why) from error
    text = base64.b64encode(sealed).decode()
    return signer.envelope(epoch, prekey.participant, prekey.public, fingerprint, text)


def unwrap(envelope: Envelope, pair: PrekeyPair, fingerprint_of: Callable[[bytes], str]) -> bytes:
    """The key in an envelope that has passed `check_key`; `fingerprint_of` is `hanse.runtime.he.fingerprint`.

    Raises Refused(KEY_REFUSED): it does not open, or holds another key than it says.
    """
    one = envelope
    info = _info(one.agreement, one.epoch, one.sender, one.recipient, one.prekey, one.fingerprint)
    try:
        key = _SUITE.decrypt(base64.b64decode(one.sealed), pair.private, info)
    except (InvalidTag, ValueError, RuntimeError) as error:
        raise Refused(ReplyCode.KEY_REFUSED, f"envelope of {one.sender} does not open") from error
    if fingerprint_of(key) != one.fingerprint:
        raise Refused(ReplyCode.KEY_REFUSED, f"envelope of {one.sender} holds another key than it says")
    return key


def _info(agreement: str, epoch: int, sender: str, recipient: str, prekey: str, fingerprint: str) -> bytes:
    fields = {"agreement": agreement, "epoch": epoch, "sender": sender, "recipient": recipient}
    return signed_bytes("wrap", {**fields, "prekey": prekey, "fingerprint": fingerprint})
