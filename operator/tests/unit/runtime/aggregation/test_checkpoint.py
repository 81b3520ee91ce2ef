"""Checkpoints: exact round trip, and a whole one is found after any damage to the newest."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hanse.runtime.aggregation.checkpoint import (
    Checkpoint,
    CheckpointCorrupt,
    CheckpointError,
    CheckpointMissing,
    load,
    previous,
    save,
)


def checkpoint(round_: int) -> Checkpoint:
    generator = np.random.default_rng(round_)
    return Checkpoint(
        job_uid="uid",
        round=round_,
        arrays={
            "w": generator.normal(size=(2, 3)).astype(np.float32),
            "n": np.asarray(round_),
            "none": np.zeros((0, 2)),
        },
        strategy_state={"m/w": generator.normal(size=(2, 3))},
        history=[{"number": round_, "metrics": {"auc": "0.7"}, "ratio": 0.1 + 0.2}],
        random_state=generator.bit_generator.state,  # type: ignore[arg-type]
        statistics={"mean": [1e-300, 0.1], "scale": [1.0, 3.3]},
        model_metadata='{"app": "tabular"}',
        contributed={"bank-a": round_},
    )


def assert_same(a: Checkpoint, b: Checkpoint) -> None:
    for name in ("job_uid", "round", "history", "random_state", "statistics", "model_metadata", "contributed"):
        assert getattr(a, name) == getattr(b, name), name
    for mine, other in ((a.arrays, b.arrays), (a.strategy_state, b.strategy_state)):
        assert list(mine) == list(other)  # apps may take arrays by position
        for k, v in mine.items():
            assert (v.dtype, v.shape, v.tobytes()) == (other[k].dtype, other[k].shape, other[k].tobytes())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "checkpoint"


def test_round_trip_is_exact_and_restores_the_random_state(path: Path) -> None:
    save(checkpoint(4), path)
    loaded = load(path)
    assert_same(loaded, checkpoint(4))
    generator = np.random.default_rng(0)
    generator.bit_generator.state = loaded.random_state
    expected = np.random.default_rng(4)
    expected.bit_generator.state = checkpoint(4).random_state
    assert generator.random() == expected.random()


def test_the_newest_is_loaded_and_no_temporary_file_stays(path: Path) -> None:
    for round_ in (1, 2, 3):
        save(checkpoint(round_), path)
    assert load(path).round == 3
    assert sorted(p.name for p in path.parent.iterdir()) == ["checkpoint", "checkpoint.previous"]


def test_missing_says_so(path: Path) -> None:
    with pytest.raises(CheckpointMissing):
        load(path)


def test_crash_between_the_two_renames_leaves_the_previous(path: Path) -> None:
    save(checkpoint(1), path)
    path.rename(previous(path))
    assert load(path).round == 1


def test_crash_while_writing_leaves_the_newest(path: Path) -> None:
    save(checkpoint(1), path)
    (path.parent / ".checkpoint.tmp").write_bytes(b"half a")
    assert load(path).round == 1
    save(checkpoint(2), path)
    assert load(path).round == 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_truncation_or_flipped_bit_falls_back_to_the_previous(path: Path, data: st.DataObject) -> None:
    for stale in path.parent.glob("*"):
        stale.unlink()
    save(checkpoint(1), path)
    save(checkpoint(2), path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), label="truncate"):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    assert_same(load(path), checkpoint(1))
    # The damaged file must not take the place of the good one at the next save, nor be loaded again.
    save(checkpoint(2), path)
    path.write_bytes(b"damaged again")
    assert load(path).round == 1


def test_both_damaged_is_an_error_that_names_both(path: Path) -> None:
    save(checkpoint(1), path)
    save(checkpoint(2), path)
    path.write_bytes(b"x")
    previous(path).write_bytes(b"")
    with pytest.raises(CheckpointCorrupt, match=r"checkpoint: .*checkpoint\.previous: "):
        load(path)


def test_what_cannot_be_written_is_an_error_and_the_old_one_stays(path: Path) -> None:
    save(checkpoint(1), path)
    with pytest.raises(CheckpointError, match="complex"):
        save(Checkpoint("uid", 2, {"w": np.zeros(2, np.complex64)}), path)
    with pytest.raises(CheckpointError, match="JSON"):
        save(Checkpoint("uid", 2, {}, random_state={"key": np.zeros(2)}), path)
    assert load(path).round == 1


def test_no_space_left_is_an_error_and_the_old_one_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(checkpoint(1), path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save(checkpoint(2), path)
    assert load(path).round == 1
