"""A gate's way to its API server, where the contract suite cannot see it."""

import ssl
from pathlib import Path

import httpx
import pytest

from hanse.pki import certificates
from hanse.runtime.ledger import LedgerDamaged, LedgerUnavailable
from hanse.runtime.ledger.kube import Access, KubeLedger
from tests.contract.runtime.ledger.worlds import CLAIM, START

TOKEN = "secret-of-the-gate"


@pytest.fixture
def access(tmp_path: Path) -> Access:
    (tmp_path / "token").write_text(TOKEN)
    return Access("https://server", "bank-a", tmp_path / "token", tmp_path / "ca.crt")


def ledger(access: Access, answer: httpx.Response | Exception) -> KubeLedger:
    def handle(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = httpx.Client(base_url=access.url, transport=httpx.MockTransport(handle))
    return KubeLedger(access, "borrowers", client=client)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("partitioned"),
        httpx.Response(500),
        httpx.Response(401),
        httpx.Response(403, json={"message": "forbidden"}),
        httpx.Response(429),
        httpx.Response(200, text="a proxy's page"),
    ],
)
def test_without_a_clear_answer_nothing_may_leave_now(access: Access, answer: httpx.Response | Exception) -> None:
    with pytest.raises(LedgerUnavailable) as raised:
        ledger(access, answer).open(CLAIM)
    assert raised.value.temporary
    assert TOKEN not in str(raised.value)


def test_without_a_token_nothing_may_leave_now(access: Access) -> None:
    access.token.unlink()
    with pytest.raises(LedgerUnavailable):
        ledger(access, httpx.Response(200, json={})).open(CLAIM)


def test_a_status_that_cannot_be_read_is_damage(access: Access) -> None:
    made = {"metadata": {"name": "borrowers", "resourceVersion": "1"}, "status": {"accounts": {"x": {}}}}
    with pytest.raises(LedgerDamaged):
        ledger(access, httpx.Response(200, json=made)).open(CLAIM)


def test_the_api_server_is_verified_as_client_go_does(access: Access) -> None:
    access.ca.write_text(certificates.new_authority("cluster", START).certificate)
    with access.client() as client:
        context = client._transport._pool._ssl_context  # type: ignore[attr-defined]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
