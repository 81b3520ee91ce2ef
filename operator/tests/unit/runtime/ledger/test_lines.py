"""The chained file: what a kill, a power cut, an editor and an old backup do to it."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.runtime.ledger import LedgerDamaged, LedgerUnavailable
from hanse.runtime.ledger.lines import Lines


def write(path: Path, *events: str, second: Path | None = None) -> None:
    lines = Lines(path, second)
    with lines.locked():
        lines.read()
        for event in events:
            lines.append({"event": event})


def read(path: Path, second: Path | None = None) -> list[str]:
    lines = Lines(path, second)
    with lines.locked():
        return [line["event"] for line in lines.read()]


def test_what_was_written_is_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a" / "ledger.jsonl"
    assert read(path) == []
    write(path, "one", "two")
    write(path, "three")
    assert read(path) == ["one", "two", "three"]
    assert path.stat().st_mode & 0o077 in (0o44, 0o00)


def test_two_readers_see_what_the_other_wrote(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    one, other = Lines(path), Lines(path)
    with one.locked():
        assert one.read() == []
        one.append({"event": "one"})
    with other.locked():
        assert len(other.read()) == 1
        other.append({"event": "two"})
    with one.locked():
        assert [line["event"] for line in one.read()] == ["two"]


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(min_value=1, max_value=80))
def test_a_torn_last_line_never_was(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("torn") / "ledger.jsonl"
    write(path, "one", "two")
    whole = path.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    path.write_bytes(whole[: -min(cut, last)])
    assert read(path) == ["one"]
    write(path, "three")
    assert read(path) == ["one", "three"]
    assert path.read_bytes().endswith(b"\n")


def test_nothing_of_a_torn_line_stays_behind_a_shorter_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    write(path, "one", "a long one " + "x" * 500)
    os.truncate(path, path.stat().st_size - 1)
    write(path, "two")
    assert read(path) == ["one", "two"]
    assert len(path.read_bytes().splitlines()) == 2


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_line_that_was_changed_is_damage(tmp_path: Path, line: int) -> None:
    path = tmp_path / "ledger.jsonl"
    write(path, "one", "two", "three")
    content = path.read_text().splitlines()
    changed = json.loads(content[line])
    changed["event"] = "other"
    content[line] = json.dumps(changed)
    path.write_text("\n".join(content) + "\n")
    with pytest.raises(LedgerDamaged):
        read(path)


def test_a_line_that_was_taken_out_or_doubled_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    write(path, "one", "two", "three")
    content = path.read_text().splitlines()
    for changed in ([content[0], content[2]], [content[0], content[1], content[1], content[2]]):
        path.write_text("\n".join(changed) + "\n")
        with pytest.raises(LedgerDamaged):
            read(path)


def test_an_older_copy_is_noticed_by_the_second_copys_head(tmp_path: Path) -> None:
    path, second = tmp_path / "ledger.jsonl", tmp_path / "state" / "head.json"
    write(path, "one", second=second)
    shutil.copy(path, tmp_path / "backup")
    write(path, "two", second=second)
    shutil.copy(tmp_path / "backup", path)
    with pytest.raises(LedgerDamaged, match="older"):
        read(path, second)
    assert read(path) == ["one"], "without a second copy nobody can know"


def test_another_history_of_the_same_length_is_noticed(tmp_path: Path) -> None:
    path, second = tmp_path / "ledger.jsonl", tmp_path / "head.json"
    write(path, "one", second=second)
    path.unlink()
    write(path, "other")
    with pytest.raises(LedgerDamaged):
        read(path, second)


def test_a_second_copy_that_is_behind_is_no_damage(tmp_path: Path) -> None:
    """Killed between the line and the copy."""
    path, second = tmp_path / "ledger.jsonl", tmp_path / "head.json"
    write(path, "one", second=second)
    write(path, "two")
    assert read(path, second) == ["one", "two"]


def test_a_file_that_vanishes_or_shrinks_under_a_reader_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    write(path, "one", "two")
    lines = Lines(path)
    with lines.locked():
        lines.read()
    os.truncate(path, 10)
    with lines.locked(), pytest.raises(LedgerDamaged):
        lines.read()
    path.unlink()
    with lines.locked(), pytest.raises(LedgerDamaged):
        lines.read()


def test_a_directory_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    lines = Lines(tmp_path / "file" / "ledger.jsonl")
    with pytest.raises(LedgerUnavailable):
        with lines.locked():
            pass
