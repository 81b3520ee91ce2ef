"""Certificates of `hanse run`, checked by a TLS handshake as well as by their fields."""

import ipaddress
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import verification

from hanse.cli.localpki import LocalCA
from hanse.pki.certificates import Pair

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def test_the_server_is_known_by_address_and_by_its_name_in_a_cluster() -> None:
    authority = LocalCA(NOW)
    store = verification.Store([x509.load_pem_x509_certificate(authority.certificate.encode())])
    certificate = x509.load_pem_x509_certificate(authority.server("credit", "consortium").certificate.encode())
    builder = verification.PolicyBuilder().store(store).time(NOW)
    for name in (
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.DNSName("localhost"),
        x509.DNSName("credit-server.consortium.svc"),
    ):
        assert len(builder.build_server_verifier(name).verify(certificate, [])) == 2
    with pytest.raises(verification.VerificationError):
        builder.build_server_verifier(x509.DNSName("elsewhere")).verify(certificate, [])


def test_a_client_certificate_is_for_clients_only() -> None:
    authority = LocalCA(NOW)
    store = verification.Store([x509.load_pem_x509_certificate(authority.certificate.encode())])
    certificate = x509.load_pem_x509_certificate(authority.client("bank-a").certificate.encode())
    builder = verification.PolicyBuilder().store(store).time(NOW)
    assert builder.build_client_verifier().verify(certificate, []).subjects
    with pytest.raises(verification.VerificationError):
        builder.build_server_verifier(x509.DNSName("bank-a")).verify(certificate, [])


def _load(context: ssl.SSLContext, directory: Path, pair: Pair) -> None:
    (directory / "crt").write_text(pair.certificate)
    (directory / "key").write_text(pair.key)
    context.load_cert_chain(directory / "crt", directory / "key")


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ends[1].getpeercert() is not None


def test_mutual_tls_between_own_certificates_and_none_with_another_run(tmp_path: Path) -> None:
    ours, theirs = LocalCA(), LocalCA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(cadata=ours.certificate)
    _load(server, tmp_path, ours.server("credit", "consortium"))
    for authority in (ours, theirs):
        client = ssl.create_default_context(cadata=ours.certificate)
        _load(client, tmp_path, authority.client("bank-a"))
        if authority is ours:
            _handshake(client, server)
        else:
            with pytest.raises(ssl.SSLError):
                _handshake(client, server)
