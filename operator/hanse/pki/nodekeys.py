"""SuperNode keys: ECDSA P-384, the curve that Flower's node authentication asks for."""

from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hanse.pki.certificates import private_pem


@dataclass(frozen=True)
class NodeKey:
    """A SuperNode's key pair, PEM."""

    private: str
    public: str

    def __repr__(self) -> str:
        return "NodeKey(…)"


def new_node_key() -> NodeKey:
    """A new key pair."""
    key = ec.generate_private_key(ec.SECP384R1())
    return NodeKey(private_pem(key), _public_pem(key))


def public_key_of(private: str) -> str:
    """The public half of a private key.

    Raises:
        ValueError: when it is no P-384 key.
    """
    key = serialization.load_pem_private_key(private.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ValueError("not an ECDSA P-384 key")
    return _public_pem(key)


def _public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
