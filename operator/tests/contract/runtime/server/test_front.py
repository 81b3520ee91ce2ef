"""The front as it runs: nginx with our configuration before a real SuperLink."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE

from tests.contract.runtime.server.rig import Authority, Rig, superlink, wait_for


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with superlink(tmp_path_factory.mktemp("front"), clients=1) as made:
        made.start_program("front", "hanse.runtime.front")
        made.authority.issue(made.root / "client", "p0", server=False)
        wait_for(lambda: _answers(made), "the front")
        yield made


def _answers(rig: Rig) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{rig.config.server_port + 1}/health").status_code == 200
    except httpx.TransportError:
        return False


def _client(rig: Rig, identity: Path | None) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(rig.paths.tls / "ca.crt"))
    if identity is not None:
        context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
    return httpx.Client(verify=context, base_url=f"https://127.0.0.1:{rig.config.server_port}")


def test_a_client_certificate_of_the_job_gets_to_the_fleet_api_and_health(rig: Rig) -> None:
    with _client(rig, rig.root / "client") as client:
        assert client.get("/health").status_code == 200
        # It is the SuperLink that answers: it wants a signed request.
        answer = client.post("/v1/fleet/pull-messages", headers={"content-type": PROTOBUF_MEDIA_TYPE})
        assert answer.status_code == 401
        assert "SuperNode authentication" in answer.text


def test_without_a_client_certificate_nothing_is_answered(rig: Rig) -> None:
    with _client(rig, None) as client:
        for path in ("/health", "/v1/fleet/pull-messages", "/v1/control/list-runs"):
            assert client.post(path).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/list-runs",
        "/v1/control/start-run",
        "/v1/runtime/acquire-task",
        "/v1/runtime/responses",
        "/docs",
        "/openapi.json",
        "/",
        "/v1/fleet/../control/list-runs",
        "/v1/fleet/%2e%2e/control/list-runs",
        "//v1/control/list-runs",
    ],
)
def test_nothing_but_the_fleet_api_is_reachable(rig: Rig, path: str) -> None:
    with _client(rig, rig.root / "client") as client:
        url = httpx.URL(f"https://127.0.0.1:{rig.config.server_port}").copy_with(raw_path=path.encode())
        assert client.post(url).status_code == 403


def test_a_certificate_of_another_authority_is_refused(rig: Rig) -> None:
    Authority.make().issue(rig.root / "stranger", "p0", server=False)
    with _client(rig, rig.root / "stranger") as client:
        assert client.get("/health").status_code == 400


def test_the_probe_port_answers_health_alone(rig: Rig) -> None:
    base = f"http://127.0.0.1:{rig.config.server_port + 1}"
    for path in ("/", "/v1/fleet/pull-messages", "/v1/control/list-runs", "/health/x"):
        assert httpx.post(base + path).status_code == 404
