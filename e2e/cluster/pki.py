"""A cluster's certificate authority, certificates and kubeconfigs, as files.

Used by the local back end and the API-server fixture.
"""

from __future__ import annotations

import base64
import datetime
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hanse.pki import certificates
from hanse.pki.certificates import Pair

_DAYS = 365


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Authority:
    """Signs with a key that it keeps in memory, and writes to `directory` (`ca.crt`, `ca.key`, …)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # An hour back: a guest's clock may lag behind the host's.
        self._now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
        self._pair = certificates.new_authority("hanse-test-cluster", self._now, days=_DAYS)
        self.identity = self._write("ca", self._pair)

    def issue(
        self, file_name: str, common_name: str, *, group: str | None = None, sans: Sequence[str] = ()
    ) -> Identity:
        """Sign a certificate: for a server when it has alternative names, else for a client."""
        usage = certificates.SERVER if sans else certificates.CLIENT
        made = certificates.issue(
            self._pair, common_name, self._now, sans=tuple(sans), usage=usage, days=_DAYS, organisation=group
        )
        return self._write(file_name, made)

    def _write(self, name: str, pair: Pair) -> Identity:
        identity = Identity(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        _write_secret(identity.key, pair.key)
        identity.certificate.write_text(pair.certificate)
        return identity


def write_signing_key(path: Path) -> Path:
    """A key for service account tokens.

    In the traditional form: kube-apiserver takes the public key that it checks tokens with from no other.
    """
    form = serialization.PrivateFormat.TraditionalOpenSSL
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    _write_secret(path, pem.decode())
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
    _write_secret(path, kubeconfig(server, authority, identity))
    return path


def _write_secret(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(content)


def _b64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
