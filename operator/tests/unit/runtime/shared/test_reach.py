"""The range of an encrypted job without differential privacy follows the decrypted mean, and nothing else."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.runtime.shared.reach import FURTHEST, next_range
from tests.unit.runtime.shared.steps import SIZE, shared_model


@pytest.mark.parametrize(
    ("largest", "follows"), [(0.51, 2.0), (0.5, 1.0), (0.125, 1.0), (0.1249, 0.5), (0.0, 1.0), (1e9, 2.0)]
)
def test_doubles_above_a_half_and_halves_below_an_eighth(largest: float, follows: float) -> None:
    for sign in (1, -1):
        assert next_range(1.0, np.asarray([0.0, sign * largest, 0.01 * largest]), 1.0) == follows


@given(
    first=st.floats(1e-9, 1e6), magnitudes=st.lists(st.floats(0, 1e12, allow_subnormal=False), min_size=1, max_size=80)
)
def test_is_a_power_of_two_of_the_first_and_bounded(first: float, magnitudes: list[float]) -> None:
    current = first
    for magnitude in magnitudes:
        current = next_range(current, np.asarray([magnitude]), first)
        assert first / FURTHEST <= current <= first * FURTHEST
        assert math.frexp(current)[0] == math.frexp(first)[0]


def test_settles_where_the_mean_has_room() -> None:
    current = 1.0
    for _ in range(30):
        current = next_range(current, np.asarray([0.0003]), 1.0)
    assert current / 8 <= 0.0003 <= current / 2


def test_moves_with_a_committed_round_alone() -> None:
    model, mean = shared_model("FedAvg"), np.full(SIZE, 0.6)
    candidate = model.apply(1, mean, ["a", "b"])
    assert (model.range, candidate.state.range) == (1.0, 2.0)
    model.commit(candidate)
    assert model.range == 2.0


def test_follows_what_is_sent_and_not_what_random_k_makes_of_it() -> None:
    sent, amplification = np.full(SIZE, 0.3), 10.0
    candidate = shared_model("FedAvg").apply(1, sent * amplification, ["a", "b"], amplification=amplification)
    assert candidate.state.range == 1.0
