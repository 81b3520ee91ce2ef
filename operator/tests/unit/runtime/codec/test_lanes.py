"""Lanes of 8, 15 and 32 bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.runtime.codec import MessageError
from hanse.runtime.codec.lanes import capacity, lane_bytes, pack, unpack

BITS = [8, 15, 32]


@given(st.sampled_from(BITS), st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_values_come_back_modulo_the_lane(bits: int, values: list[int]) -> None:
    packed = pack(np.array(values, np.int64), bits)
    assert packed.dtype == np.uint8
    assert packed.shape == (lane_bytes(len(values), bits),)
    half = 1 << (bits - 1)
    assert unpack(packed, len(values), bits).tolist() == [(value + half) % (2 * half) - half for value in values]


@pytest.mark.parametrize("bits", BITS)
def test_a_lane_holds_its_capacity(bits: int) -> None:
    values = np.array([capacity(bits), -capacity(bits), 0, -1])
    assert np.array_equal(unpack(pack(values, bits), 4, bits), values)


@pytest.mark.parametrize("bits", BITS)
def test_nothing_saturates(bits: int) -> None:
    assert unpack(pack(np.array([capacity(bits) + 2]), bits), 1, bits).tolist() == [-capacity(bits)]


def test_lanes_have_no_gaps() -> None:
    assert [lane_bytes(8, bits) for bits in BITS] == [8, 15, 32]
    assert lane_bytes(9, 15) == 17


@pytest.mark.parametrize("bits", BITS)
def test_another_length_is_refused(bits: int) -> None:
    with pytest.raises(MessageError):
        unpack(np.zeros(lane_bytes(8, bits) + 1, np.uint8), 8, bits)
