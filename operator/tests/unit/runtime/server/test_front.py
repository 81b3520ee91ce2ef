"""The front's configuration."""

from pathlib import Path

from hanse.api.participation import JobRef
from hanse.api.paths import Paths
from hanse.api.runconfig import RunConfig, ServerParticipant
from hanse.runtime.front import render


def _config(**settings: int) -> RunConfig:
    return RunConfig(
        job=JobRef(namespace="n", name="j", uid="00000000-0000-4000-8000-000000000001"),
        client_app="a:b",
        participants=[ServerParticipant(name="p0", index=0, public_key="k")],
        quorum=1,
        rounds=1,
        **settings,
    )


def test_ports_and_files_come_from_the_config() -> None:
    text = render(Paths(Path("/pod")), _config(server_port=7443, superlink_port=7000), Path("/tmp/x"))
    assert "listen 7443 ssl;" in text
    assert "listen 7444;" in text
    assert "server 127.0.0.1:7000;" in text
    assert "ssl_client_certificate /pod/etc/hanse/tls/ca.crt;" in text
    assert "$" not in text


def test_client_certificates_are_asked_for_and_the_upstream_is_verified() -> None:
    text = render(Paths(), _config(), Path("/tmp/x"))
    assert "ssl_verify_client on;" in text
    assert "proxy_ssl_verify on;" in text
    assert text.count("proxy_pass") == 3


def test_nothing_is_written_outside_of_the_scratch_directory() -> None:
    text = render(Paths(), _config(), Path("/scratch"))
    written = [line for line in text.splitlines() if "_temp_path" in line or line.startswith("pid")]
    assert len(written) == 6
    assert all(" /scratch/" in line for line in written)
