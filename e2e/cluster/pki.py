"""A cluster's certificate authority, certificates and kubeconfigs.

Used by the local back end and the API-server fixture. Keys are ECDSA P-256: made in a millisecond, where RSA
would be most of a second of a cluster's start.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_YEAR = datetime.timedelta(days=365)
_CA_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Authority:
    """Signs with a key that it keeps in memory, or wrote to `directory` (`ca.crt`, `ca.key`)."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("hanse-test-cluster", None)
        builder = _builder(self._name, self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
        )
        # Key usage here and the authority's key identifier below: Python 3.13 verifies strictly (RFC 5280) by default.
        builder = builder.add_extension(_CA_USAGE, critical=True)
        certificate = builder.sign(self._key, hashes.SHA256())
        self.identity = _write(directory, "ca", self._key, certificate)

    def issue(
        self, file_name: str, common_name: str, *, group: str | None = None, sans: Sequence[str] = ()
    ) -> Identity:
        """Sign a certificate for clients, and for servers too when it has alternative names."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(common_name, group), self._name, key.public_key())
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(authority, critical=False)
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if sans:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            builder = builder.add_extension(x509.SubjectAlternativeName([_san(san) for san in sans]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return _write(self.directory, file_name, key, builder.sign(self._key, hashes.SHA256()))


def write_signing_key(path: Path) -> Path:
    """A key for service account tokens."""
    _write_secret(path, _pem(ec.generate_private_key(ec.SECP256R1())))
    return path


def kubeconfig(server: str, authority: Path, identity: Identity) -> str:
    """A kubeconfig with everything inside (JSON, which is YAML), so that it can be copied anywhere."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "hanse",
            "contexts": [{"name": "hanse", "context": {"cluster": "hanse", "user": "hanse"}}],
            "clusters": [
                {
                    "name": "hanse",
                    "cluster": {"server": server, "certificate-authority-data": _b64(authority)},
                }
            ],
            "users": [
                {
                    "name": "hanse",
                    "user": {
                        "client-certificate-data": _b64(identity.certificate),
                        "client-key-data": _b64(identity.key),
                    },
                }
            ],
        },
        indent=1,
    )


def write_kubeconfig(path: Path, server: str, authority: Path, identity: Identity) -> Path:
    """Write a kubeconfig that only its owner can read."""
    _write_secret(path, kubeconfig(server, authority, identity).encode())
    return path


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    # An hour back: a guest's clock may lag behind the host's.
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + _YEAR)
    )


def _name(common_name: str, group: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if group:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return x509.Name(attributes)


def _san(value: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(value))
    except ValueError:
        return x509.DNSName(value)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # The traditional form: kube-apiserver reads it for certificates and for token signing alike.
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _write(directory: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> Identity:
    identity = Identity(directory / f"{name}.crt", directory / f"{name}.key")
    _write_secret(identity.key, _pem(key))
    identity.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return identity


def _write_secret(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)


def _b64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
