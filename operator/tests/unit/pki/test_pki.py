"""Certificates as a verifier sees them."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import (
    PolicyBuilder,
    Store,
    VerificationError,
)

from hanse.pki import certificates, nodekeys
from hanse.pki.certificates import CLIENT, SERVER, Pair

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
HOST = "credit-server.consortium.svc"


@pytest.fixture(scope="module")
def authority() -> Pair:
    return certificates.new_authority("hanse job 1", START)


def load(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate.encode())


def verifier(authority: Pair) -> PolicyBuilder:
    return PolicyBuilder().store(Store([load(authority)])).time(START + timedelta(hours=1))


def test_a_server_certificate_verifies_for_its_names(authority: Pair) -> None:
    made = certificates.issue(authority, HOST, START, sans=(HOST, "localhost", "127.0.0.1"), usage=SERVER, days=8)
    for name in (HOST, "localhost"):
        verifier(authority).build_server_verifier(x509.DNSName(name)).verify(load(made), [])
    with pytest.raises(VerificationError):
        verifier(authority).build_server_verifier(x509.DNSName("other.svc")).verify(load(made), [])


def test_a_client_certificate_is_no_server_certificate(authority: Pair) -> None:
    made = certificates.issue(authority, "bank-a", START, sans=("bank-a.x",), usage=CLIENT, days=8)
    verifier(authority).build_client_verifier().verify(load(made), [])
    with pytest.raises(VerificationError):
        verifier(authority).build_server_verifier(x509.DNSName("bank-a.x")).verify(load(made), [])


def test_another_jobs_authority_is_not_trusted(authority: Pair) -> None:
    other = certificates.new_authority("hanse job 2", START)
    made = certificates.issue(other, HOST, START, sans=(HOST,), usage=SERVER, days=8)
    with pytest.raises(VerificationError):
        verifier(authority).build_server_verifier(x509.DNSName(HOST)).verify(load(made), [])


def test_a_leaf_signs_nothing(authority: Pair) -> None:
    leaf = certificates.issue(authority, "bank-a", START, sans=("bank-a.x",), usage=SERVER, days=8)
    forged = certificates.issue(leaf, HOST, START, sans=(HOST,), usage=SERVER, days=1)
    with pytest.raises(VerificationError):
        verifier(authority).build_server_verifier(x509.DNSName(HOST)).verify(load(forged), [load(leaf)])


def test_validity(authority: Pair) -> None:
    made = certificates.issue(authority, HOST, START, sans=(HOST,), usage=SERVER, days=8)
    assert certificates.not_after(made.certificate) == START + timedelta(days=8)
    assert load(made).not_valid_before_utc < START
    long = certificates.issue(authority, HOST, START, sans=(HOST,), usage=SERVER, days=99_999)
    assert certificates.not_after(long.certificate) == certificates.not_after(authority.certificate)


def test_profile(authority: Pair) -> None:
    made = load(certificates.issue(authority, "x" * 90, START, sans=("127.0.0.1",), usage=CLIENT, days=8))
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).critical
    assert made.extensions.get_extension_for_class(x509.KeyUsage).critical
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    ca = load(authority).extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (ca.ca, ca.path_length) == (True, 0)


def test_a_user_of_kubernetes_has_a_group_and_no_alternative_name(authority: Pair) -> None:
    made = load(
        certificates.issue(
            authority, "system:node:n0", START, sans=(), usage=CLIENT, days=8, organisation="system:nodes"
        )
    )
    subject = {attribute.oid: attribute.value for attribute in made.subject}
    assert subject == {NameOID.COMMON_NAME: "system:node:n0", NameOID.ORGANIZATION_NAME: "system:nodes"}
    with pytest.raises(x509.ExtensionNotFound):
        made.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_keys_do_not_show(authority: Pair) -> None:
    assert "KEY" not in repr(authority)
    assert "KEY" not in repr(nodekeys.new_node_key())


def test_node_keys_are_p384() -> None:
    made = nodekeys.new_node_key()
    assert load_pem_public_key(made.public.encode()).curve.name == "secp384r1"  # type: ignore[union-attr]
    assert nodekeys.public_key_of(made.private) == made.public
    assert load_pem_private_key(made.private.encode(), None)


def test_a_key_of_another_curve_is_refused(authority: Pair) -> None:
    with pytest.raises(ValueError, match="P-384"):
        nodekeys.public_key_of(authority.key)
