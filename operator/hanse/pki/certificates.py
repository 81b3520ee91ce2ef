"""Certificate authorities and leaf certificates (ECDSA P-256), as PEM.

Profile after RFC 5280: basic constraints and key usage critical, one extended key usage a leaf, SANs, key identifiers.
"""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Clocks of nodes differ: a certificate is valid from a little before it was made.
SKEW = timedelta(minutes=10)
AUTHORITY_DAYS = 3650
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
_NAME_MAX = 64  # of a common name (RFC 5280, upper bound ub-common-name)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both PEM. The key never shows in a representation."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        return "Pair(…)"


def new_authority(name: str, now: datetime, *, days: int = AUTHORITY_DAYS) -> Pair:
    """A self-signed CA that may sign leaves only (path length 0)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    certificate = (
        _builder(subject, subject, key.public_key(), now, timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(_pem(certificate), private_pem(key))


def issue(
    authority: Pair,
    name: str,
    now: datetime,
    *,
    sans: tuple[str, ...],
    usage: x509.ObjectIdentifier,
    days: float,
    organisation: str | None = None,
) -> Pair:
    """A leaf certificate with a new key. `sans` are DNS names or IP addresses.

    It never outlives its authority. `organisation` is what Kubernetes reads a user's group from.
    """
    ca = x509.load_pem_x509_certificate(authority.certificate.encode())
    ca_key = serialization.load_pem_private_key(authority.key.encode(), password=None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    lifetime = min(timedelta(days=days), ca.not_valid_after_utc - now)
    builder = (
        _builder(_name(name, organisation), ca.subject, key.public_key(), now, lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    if sans:  # the extension may not be empty
        builder = builder.add_extension(x509.SubjectAlternativeName([_san(each) for each in sans]), critical=False)
    return Pair(_pem(builder.sign(ca_key, hashes.SHA256())), private_pem(key))


def not_after(certificate: str) -> datetime:
    """When a PEM certificate ends."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc


def private_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    """A private key as PKCS #8 PEM, not encrypted: the Secret or the file that holds it is its protection."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str, organisation: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_NAME_MAX])]
    if organisation:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(attributes)


def _san(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
