"""Lanes and planes: what goes in comes out, and sums of words are sums of points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.runtime.he import LANE_LIMIT, DecryptionImplausible, lanes, planes

POINTS = st.lists(st.integers(-LANE_LIMIT, LANE_LIMIT), min_size=1, max_size=30)


@given(values=POINTS, spare=st.integers(0, 3))
def test_unpacking_is_the_inverse_of_packing(values: list[int], spare: int) -> None:
    points = np.array(values, np.int64)
    words = lanes.pack(points, -(-len(values) // 3) + spare)
    assert np.abs(words).max() <= lanes.WORD_LIMIT < 2**57
    np.testing.assert_array_equal(lanes.unpack(words, len(values)), points)


@given(values=POINTS)
def test_sums_of_words_are_sums_of_points(values: list[int]) -> None:
    points = np.array(values, np.int64)
    parts = [points // 3, points // 3, points - 2 * (points // 3)]
    summed = sum((lanes.pack(part, 11) for part in parts), np.zeros(11, np.int64))
    np.testing.assert_array_equal(lanes.unpack(summed, len(values)), points)


def test_packing_leaves_its_input_alone() -> None:
    points = np.arange(6)
    lanes.pack(points, 2)
    np.testing.assert_array_equal(points, np.arange(6))


def test_words_that_hold_no_sums_are_refused() -> None:
    lanes.unpack(np.array([lanes.WORD_LIMIT, -lanes.WORD_LIMIT]), 6)
    for word in (lanes.WORD_LIMIT + 1, -lanes.WORD_LIMIT - 1):
        with pytest.raises(DecryptionImplausible):
            lanes.unpack(np.array([0, word]), 6)
    with pytest.raises(DecryptionImplausible, match="behind its end"):
        lanes.unpack(lanes.pack(np.array([0, 0, 1]), 1), 2)


@pytest.mark.parametrize("bits", [40, 56])
def test_planes_hold_every_bit(bits: int) -> None:
    kind = planes.chunk_type(bits, (2, 64), seeded=False)
    assert kind.itemsize == 2 * 64 * bits // 8
    words = np.random.default_rng(0).integers(0, 2**bits, (2, 64), np.uint64)
    words[0, 0], words[1, 63] = 2**bits - 1, 0
    chunk = np.zeros((), kind)
    planes.write(words, bits, chunk)
    np.testing.assert_array_equal(planes.read(chunk, bits), words)


PRIMES = {40: (1099511390209, 1099511480321), 56: (72057594037641217,)}


@given(bits=st.sampled_from([40, 56]), data=st.data())
def test_below_is_what_comparing_whole_coefficients_says(bits: int, data: st.DataObject) -> None:
    primes = PRIMES[bits]
    near = st.one_of(
        st.integers(0, 2**bits - 1),
        st.sampled_from(primes).flatmap(lambda prime: st.integers(-3, 3).map(lambda by: prime + by)),
        st.integers(0, bits - 1).map(lambda bit: primes[0] & ~(1 << bit)),
    )
    drawn = [[[data.draw(near) for _ in range(2)] for _ in primes] for _ in range(2)]
    words = np.array(drawn, np.uint64)
    chunk = np.zeros((), planes.chunk_type(bits, words.shape, seeded=False))
    planes.write(words, bits, chunk)
    expected = bool((words < np.array(primes, np.uint64)[:, None]).all())
    assert planes.below(chunk, bits, primes) is expected
