"""What is stored before it is paid for: whole or not at all, and not more than fits."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.api.privacy import ReleaseKind, Slot
from hanse.runtime.gate.outbox import Outbox, Stored


def slot(number: int, attempt: int = 1) -> Slot:
    return Slot(ReleaseKind.TRAIN, number, attempt)


def test_what_is_stored_comes_back_after_a_restart(tmp_path: Path) -> None:
    stored = Stored(slot(3), "sha256:q", b"\0\1bytes")
    Outbox(tmp_path).put(stored)
    assert Outbox(tmp_path).get(slot(3)) == stored
    assert Outbox(tmp_path).get(slot(4)) is None
    assert Outbox(tmp_path).get(slot(3, 2)) is None


@settings(deadline=None)
@given(position=st.integers(0, 200), value=st.integers(0, 255))
def test_a_file_that_was_changed_is_none(tmp_path_factory: pytest.TempPathFactory, position: int, value: int) -> None:
    directory = tmp_path_factory.mktemp("outbox")
    stored = Stored(slot(1), "sha256:q", bytes(range(64)))
    Outbox(directory).put(stored)
    path = directory / slot(1).key
    data = bytearray(path.read_bytes())
    before = data[position % len(data)]
    data[position % len(data)] = value
    path.write_bytes(data)
    found = Outbox(directory).get(slot(1))
    assert found == (stored if before == value else None)


@pytest.mark.parametrize("data", [b"", b"HNSOUT1\n", b"HNSOUT1\n\0\0\0\5" + bytes(32)])
def test_a_torn_file_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / slot(1).key).write_bytes(data)
    assert Outbox(tmp_path).get(slot(1)) is None


def test_a_file_under_another_slots_name_is_none(tmp_path: Path) -> None:
    Outbox(tmp_path).put(Stored(slot(1), "sha256:q", b"bytes"))
    (tmp_path / slot(1).key).rename(tmp_path / slot(2).key)
    assert Outbox(tmp_path).get(slot(2)) is None


def test_the_oldest_rounds_go_first_and_the_newest_never(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    (tmp_path / "other").write_bytes(b"not ours")
    for number in range(1, 11):
        outbox.put(Stored(slot(number), "sha256:q", bytes(1000)))
    outbox.trim(4000, slot(10))
    assert [n for n in range(1, 11) if outbox.get(slot(n))] == [8, 9, 10]
    outbox.trim(0, slot(10))
    assert [n for n in range(1, 11) if outbox.get(slot(n))] == [10]
