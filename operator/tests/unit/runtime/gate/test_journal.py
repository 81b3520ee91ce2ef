"""What a killed gate leaves to the next one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.runtime.gate.journal import Journal


def test_the_message_in_flight_is_remembered_until_it_is_answered(tmp_path: Path) -> None:
    Journal(tmp_path).note(b"origin")
    assert Journal(tmp_path).in_flight() == b"origin"
    Journal(tmp_path).clear()
    assert Journal(tmp_path).in_flight() is None


@pytest.mark.parametrize("blobs", [[b""], [b"a", b"", b"bcd"]])
def test_the_apps_state_survives(tmp_path: Path, blobs: list[bytes]) -> None:
    assert Journal(tmp_path).state() == []
    Journal(tmp_path).keep_state(blobs)
    Journal(tmp_path).keep_state(blobs)
    assert Journal(tmp_path).state() == blobs


@given(data=st.binary(max_size=64))
def test_a_spoilt_state_file_is_no_state_or_some_bytes_but_no_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    (directory / "context-state").write_bytes(data)
    assert sum(len(blob) for blob in Journal(directory).state()) <= len(data)


def test_the_node_id_survives(tmp_path: Path) -> None:
    assert Journal(tmp_path).node() is None
    Journal(tmp_path).keep_node(2**63 + 7)
    assert Journal(tmp_path).node() == 2**63 + 7


@pytest.mark.parametrize("data", [b"", b"-1", b"seven", b"9" * 40, b"\xff"])
def test_a_spoilt_node_id_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "node-id").write_bytes(data)
    assert Journal(tmp_path).node() is None


def test_the_end_of_the_job_is_remembered(tmp_path: Path) -> None:
    assert Journal(tmp_path).ended() is None
    Journal(tmp_path).end("Complete")
    assert Journal(tmp_path).ended() == "Complete"


@pytest.mark.parametrize("name", ["in-flight", "context-state", ".in-flight.new"])
def test_links_that_the_trainer_may_have_put_there_are_not_followed(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "node.key"
    secret.write_bytes(b"secret")
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / name).symlink_to(secret)
    journal = Journal(shared)
    assert journal.in_flight() is None
    assert journal.state() == []
    journal.note(b"origin")
    assert secret.read_bytes() == b"secret"
    assert journal.in_flight() == b"origin"
