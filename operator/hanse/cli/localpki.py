"""Keys and certificates of one `hanse run`: a CA, the server's certificate, one client certificate and node key each.

As in a cluster, TLS and node authentication are on; the CA's key is never written.
"""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hanse.api import names

_CLOCK_SKEW = timedelta(minutes=5)
_LOOPBACK = ipaddress.ip_address("127.0.0.1")


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True)
class NodeKey:
    """A SuperNode's key: private for the gate, public for the launcher. ECDSA P-384, PEM."""

    private: bytes
    public: str


def node_key() -> NodeKey:
    """A fresh SuperNode key."""
    key = ec.generate_private_key(ec.SECP384R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return NodeKey(_private_pem(key), public.decode())


class LocalCA:
    """A CA that lives as long as this object; its certificates are valid for `days`."""

    def __init__(self, now: datetime | None = None, days: int = 30) -> None:
        self._from = (now or datetime.now(UTC)) - _CLOCK_SKEW
        self._until = self._from + timedelta(days=days)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("hanse run CA")
        self._certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def certificate(self) -> bytes:
        """The CA's certificate, PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def server(self, job: str, namespace: str) -> KeyPair:
        """For the front and SuperLink on loopback, and under the name that they have in a cluster."""
        hosts: list[x509.GeneralName] = [x509.IPAddress(_LOOPBACK), x509.DNSName("localhost")]
        hosts.append(x509.DNSName(names.server_host(job, namespace)))
        return self._issue(names.server_name(job), ExtendedKeyUsageOID.SERVER_AUTH, hosts)

    def client(self, participant: str) -> KeyPair:
        """For one participant's gate."""
        return self._issue(participant, ExtendedKeyUsageOID.CLIENT_AUTH, [x509.DNSName(participant)])

    def _issue(self, name: str, usage: x509.ObjectIdentifier, alternatives: list[x509.GeneralName]) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            self._builder(_name(name), key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(authority, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _private_pem(key))

    def _builder(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._from)
            .not_valid_after(self._until)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
