"""A state as bytes: whole and equal after the way back, refused when anything of it is not this job's."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.runtime.aggregation import Arrays
from hanse.runtime.aggregation.files import safetensors_bytes
from hanse.runtime.shared import SharedModel, StateInvalidError
from tests.unit.runtime.shared.steps import SIZE, SPECS, after, shared_model, whole_numbers


@pytest.fixture(params=sorted(SPECS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("rounds", [0, 5])
def test_a_gate_that_was_away_goes_on_bit_for_bit(name: str, rounds: int) -> None:
    here, first = after(shared_model(name), 1, rounds), shared_model(name)
    back = first.from_bytes(here.to_bytes())
    assert (back.round, back.contributors, back.range, back.digests) == (
        here.round,
        here.contributors,
        here.range,
        here.digests,
    )
    assert list(back.arrays) == list(here.arrays)
    assert back.to_bytes() == here.to_bytes()
    assert after(back, 6, 8).digests == after(here, 6, 8).digests
    assert first.round == 0


def test_a_candidates_bytes_are_the_model_with_it_committed(name: str) -> None:
    here = after(shared_model(name), 1, 2)
    candidate = here.apply(3, whole_numbers(3, SIZE) / 2**17, ["a", "b"])
    back = shared_model(name).from_bytes(candidate.to_bytes())
    here.commit(candidate)
    assert (back.round, back.digests, back.to_bytes()) == (3, here.digests, here.to_bytes())


def parts(model: SharedModel) -> tuple[Arrays, dict[str, Any]]:
    data = model.to_bytes()
    from safetensors.numpy import load

    length = int.from_bytes(data[:8], "little")
    return load(data), json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["hanse.shared"])


def again(arrays: Arrays, about: object) -> bytes:
    return safetensors_bytes(arrays, {"hanse.shared": json.dumps(about)})


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"round": -1},
        {"round": 1001},
        {"round": "3"},
        {"range": None},
        {"range": "inf"},
        {"range": "-0x1p+0"},
        {"range": "nan"},
        {"contributors": ["a", "z"]},
        {"contributors": [1]},
        {"contributors": 7},
        {"more": 1},
    ],
    ids=str,
)
def test_refuses_other_facts(change: dict[str, Any]) -> None:
    arrays, about = parts(after(shared_model("FedAdam"), 1, 3))
    assert shared_model("FedAdam").from_bytes(again(arrays, about)).round == 3  # the parts are right as they are
    with pytest.raises(StateInvalidError):
        shared_model("FedAdam").from_bytes(again(arrays, about | change))


@pytest.mark.parametrize(
    ("key", "array"),
    [
        ("model/weight", np.zeros((30, 29), np.float32)),
        ("model/weight", np.zeros((30, 30), np.float64)),
        ("model/weight", np.full((30, 30), np.nan, np.float32)),
        ("model/more", np.zeros(1, np.float32)),
        ("model/batches", np.asarray(3)),
        ("elsewhere", np.zeros(1, np.float32)),
        ("strategy/m/weight", np.zeros((30, 30), np.float32)),
        ("strategy/v/bias", np.full(100, np.inf)),
        ("strategy/v/more", np.zeros(1)),
        ("strategy/steps", np.zeros(2, np.int64)),
        ("model/weight", None),
        ("strategy/v/weight", None),
        ("strategy/steps", None),
    ],
    ids=str,
)
def test_refuses_other_arrays(key: str, array: np.ndarray[Any, Any] | None) -> None:
    arrays, about = parts(after(shared_model("FedAdam"), 1, 3))
    changed = {**arrays, key: array} if array is not None else {k: a for k, a in arrays.items() if k != key}
    with pytest.raises(StateInvalidError):
        shared_model("FedAdam").from_bytes(again(changed, about))


def test_refuses_the_state_of_another_strategy() -> None:
    states = {name: after(shared_model(name), 1, 1).to_bytes() for name in SPECS}
    for taker, giver in (("FedAvg", "FedAdam"), ("FedAdam", "FedAvg")):
        with pytest.raises(StateInvalidError):
            shared_model(taker).from_bytes(states[giver])


def test_refuses_more_bytes_than_a_state_has_before_it_reads_them() -> None:
    model = shared_model("FedAdam")
    with pytest.raises(StateInvalidError, match="more than"):
        model.from_bytes(bytes(SIZE * 24 + 100_000))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_never_raises_anything_else_on_damaged_bytes(data: st.DataObject) -> None:
    model = shared_model("FedAvg")
    whole = model.to_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(
        st.sampled_from([whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :], whole[at:], whole * 2])
    )
    try:
        back = model.from_bytes(damaged)
    except StateInvalidError:
        return
    assert back.digests != model.digests or damaged == whole or back.to_bytes() == whole
