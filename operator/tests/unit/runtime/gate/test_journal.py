"""What a killed gate leaves to the next one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.runtime.flower.wire_taken import NOTHING, UNKNOWN
from hanse.runtime.gate.journal import Journal


def test_what_was_taken_is_remembered(tmp_path: Path) -> None:
    assert Journal(tmp_path).taken() == UNKNOWN
    Journal(tmp_path).join()
    assert Journal(tmp_path).taken() == NOTHING
    Journal(tmp_path).take("a1")
    Journal(tmp_path).join()
    assert Journal(tmp_path).taken() == "a1"


@pytest.mark.parametrize("data", [b"", b"\xff", b"a b"])
def test_a_spoilt_note_of_what_was_taken_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "taken").write_bytes(data)
    assert Journal(tmp_path).taken() == UNKNOWN


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


def test_the_end_of_the_job_is_remembered(tmp_path: Path) -> None:
    assert Journal(tmp_path).ended() is None
    Journal(tmp_path).end("Complete")
    assert Journal(tmp_path).ended() == "Complete"
