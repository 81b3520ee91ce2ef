"""The progress endpoint's own certificate: self-made, kept in a Secret, renewed in time; its CA goes to every job.

Used by `main`. The CA stays for years so that running pods keep trusting what is renewed.
"""

import ssl
import tempfile
from datetime import timedelta
from pathlib import Path

from hanse.api import names
from hanse.controller import kinds
from hanse.controller.clock import Clock
from hanse.controller.door import Door, Json
from hanse.controller.manifests.common import encoded
from hanse.controller.parse import decode
from hanse.pki import certificates
from hanse.pki.certificates import Pair

SECRET_NAME = "hanse-operator-serving"  # noqa: S105 - a name
LEAF_DAYS = 90.0
RENEW_BEFORE = timedelta(days=30)


class Serving:
    """Loads, makes and renews; `context` always serves the newest."""

    def __init__(self, door: Door, clock: Clock, namespace: str, service: str) -> None:
        self._door = door
        self._clock = clock
        self._namespace = namespace
        self._sans = (f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local", service, "localhost")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.ca = ""

    async def refresh(self) -> None:
        """Make sure that there is a certificate that will last, and serve it."""
        raw = await self._door.get(kinds.SECRET, self._namespace, SECRET_NAME)
        if raw is None:
            authority = certificates.new_authority("hanse operator", self._clock.now())
            made = await self._door.create(self._secret(authority, self._issue(authority)))
            # Another operator of a roll-out may have been quicker: what is stored counts.
            raw = made or await self._door.get(kinds.SECRET, self._namespace, SECRET_NAME)
        assert raw is not None
        authority = Pair(decode(raw, "ca.crt"), decode(raw, "ca.key"))
        leaf = Pair(decode(raw, "tls.crt"), decode(raw, "tls.key"))
        if certificates.not_after(leaf.certificate) - self._clock.now() < RENEW_BEFORE:
            leaf = self._issue(authority)
            await self._door.apply(self._secret(authority, leaf))
        self._load(leaf)
        self.ca = authority.certificate

    def _issue(self, authority: Pair) -> Pair:
        return certificates.issue(
            authority, self._sans[0], self._clock.now(), sans=self._sans, usage=certificates.SERVER, days=LEAF_DAYS
        )

    def _secret(self, authority: Pair, leaf: Pair) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {
                "name": SECRET_NAME,
                "namespace": self._namespace,
                "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY},
            },
            "data": encoded(
                {
                    "ca.crt": authority.certificate,
                    "ca.key": authority.key,
                    "tls.crt": leaf.certificate,
                    "tls.key": leaf.key,
                }
            ),
        }

    def _load(self, leaf: Pair) -> None:
        # ssl reads a key from a file only.
        with tempfile.TemporaryDirectory() as directory:
            certificate, key = Path(directory, "tls.crt"), Path(directory, "tls.key")
            certificate.write_text(leaf.certificate)
            key.touch(mode=0o600)
            key.write_text(leaf.key)
            self.context.load_cert_chain(certificate, key)
