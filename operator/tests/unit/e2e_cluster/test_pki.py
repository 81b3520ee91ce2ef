"""Certificates that the daemons trust, and kubeconfigs that can be copied anywhere."""

import base64
import json
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from e2e.cluster import pki


def _read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_certificate_is_signed_by_its_authority(tmp_path: Path) -> None:
    authority = pki.Authority(tmp_path)
    issued = _read(authority.issue("node", "system:node:node0", group="system:nodes").certificate)
    issued.verify_directly_issued_by(_read(authority.identity.certificate))
    subject = {attribute.oid: attribute.value for attribute in issued.subject}
    assert subject == {NameOID.COMMON_NAME: "system:node:node0", NameOID.ORGANIZATION_NAME: "system:nodes"}


def test_only_a_certificate_with_names_can_serve(tmp_path: Path) -> None:
    authority = pki.Authority(tmp_path)
    client = _read(authority.issue("c", "c").certificate)
    server = _read(authority.issue("s", "s", sans=("10.247.0.2", "kubernetes.default.svc")).certificate)
    usage = x509.ExtendedKeyUsage
    assert ExtendedKeyUsageOID.SERVER_AUTH not in client.extensions.get_extension_for_class(usage).value
    assert ExtendedKeyUsageOID.SERVER_AUTH in server.extensions.get_extension_for_class(usage).value
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes.default.svc"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.247.0.2"]


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    authority = pki.Authority(tmp_path)
    identity = authority.issue("admin", "admin")
    config = pki.write_kubeconfig(tmp_path / "k", "https://10.247.0.2:6443", authority.identity.certificate, identity)
    for path in (identity.key, authority.identity.key, pki.write_signing_key(tmp_path / "sa.key"), config):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_kubeconfig_names_no_file(tmp_path: Path) -> None:
    authority = pki.Authority(tmp_path)
    identity = authority.issue("admin", "admin")
    text = pki.kubeconfig("https://10.247.0.2:6443", authority.identity.certificate, identity)
    assert str(tmp_path) not in text
    user = json.loads(text)["users"][0]["user"]
    assert base64.b64decode(user["client-key-data"]) == identity.key.read_bytes()
