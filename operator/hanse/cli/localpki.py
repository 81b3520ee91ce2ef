"""Keys and certificates of one `hanse run`: a CA, the server's certificate, one client certificate each.

As in a cluster, TLS and node authentication are on; the CA's key is never written. Called by `layout`.
"""

from datetime import UTC, datetime
from typing import Final

from hanse.api import names
from hanse.pki import certificates
from hanse.pki.certificates import Pair

_DAYS: Final = 30


class LocalCA:
    """A CA that lives as long as this object; its certificates are valid for 30 days."""

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now or datetime.now(UTC)
        self._pair = certificates.new_authority("hanse run CA", self._now, days=_DAYS)

    @property
    def certificate(self) -> str:
        """The CA's certificate, PEM."""
        return self._pair.certificate

    def server(self, job: str, namespace: str) -> Pair:
        """For the front and SuperLink on loopback, and under the name that they have in a cluster."""
        sans = ("127.0.0.1", "localhost", names.server_host(job, namespace))
        return certificates.issue(
            self._pair, names.server_name(job), self._now, sans=sans, usage=certificates.SERVER, days=_DAYS
        )

    def client(self, participant: str) -> Pair:
        """For one participant's gate."""
        return certificates.issue(
            self._pair, participant, self._now, sans=(participant,), usage=certificates.CLIENT, days=_DAYS
        )
