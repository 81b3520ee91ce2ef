"""An owner's identity key: Ed25519. The owner's gates sign with it what they have released; anybody checks it.

The operator makes one for each owner (`controller.execute`), gates sign (`runtime.gate`), `hanse certificate` verifies.
"""

import base64
import binascii
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from hanse.pki.certificates import private_pem


@dataclass(frozen=True)
class IdentityKey:
    """An Ed25519 key pair, PEM."""

    private: str
    public: str

    def __repr__(self) -> str:
        return "IdentityKey(…)"


def new_identity() -> IdentityKey:
    """A new key pair."""
    key = ed25519.Ed25519PrivateKey.generate()
    return IdentityKey(private_pem(key), _public_pem(key.public_key()))


def identity_public_key(private: str) -> str:
    """The public half, PEM.

    Raises:
        ValueError: when it is no Ed25519 key.
    """
    return _public_pem(_load(private).public_key())


def sign(private: str, message: bytes) -> str:
    """The signature of a message, base64 (RFC 8032: the same key and message give the same signature).

    Raises:
        ValueError: when it is no Ed25519 key.
    """
    return base64.b64encode(_load(private).sign(message)).decode()


def verifies(public: str, signature: str, message: bytes) -> bool:
    """Whether the key (PEM) signed the message. False for what is no key or no signature."""
    try:
        key = serialization.load_pem_public_key(public.encode())
        if not isinstance(key, ed25519.Ed25519PublicKey):
            return False
        key.verify(base64.b64decode(signature, validate=True), message)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, binascii.Error):
        return False
    return True


def _load(private: str) -> ed25519.Ed25519PrivateKey:
    key = serialization.load_pem_private_key(private.encode(), password=None)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ValueError("not an Ed25519 key")
    return key


def _public_pem(key: ed25519.Ed25519PublicKey) -> str:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
