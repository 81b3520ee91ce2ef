"""Property: the decrypted sum is the integer sum, whatever is added; and what that makes of a weighted mean."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.runtime.he import LANE_LIMIT, engine_of
from tests.contract.runtime.he.engines import Keyed, keyed_engine

ENGINES = st.sampled_from(("None", "BFV", "CKKS"))
POOL = 8  # encryptions of one example; the others are the same ones again, which a sum cannot tell


@settings(max_examples=60, deadline=None)
@given(name=ENGINES, data=st.data())
def test_any_sum_that_fits_is_exact(name: str, data: st.DataObject) -> None:
    keyed = keyed_engine(name)
    clients = data.draw(st.integers(1, keyed.engine.facts.most_clients), label="clients")
    count = data.draw(st.integers(1, 3 * keyed.engine.facts.slots // 2), label="points")
    seed = data.draw(st.integers(0, 2**32), label="seed")
    distinct = min(clients, POOL)
    points = keyed.points(count, clients, seed)[:distinct]
    uploads = [keyed.engine.encrypt(keyed.key, each) for each in points]
    times = np.bincount(np.arange(clients) % distinct)
    total = keyed.engine.add((uploads[index % distinct] for index in range(clients)), count)
    np.testing.assert_array_equal(keyed.engine.decrypt(keyed.key, total, count), times @ np.array(points))


@settings(max_examples=60, deadline=None)
@given(name=ENGINES, values=st.lists(st.integers(-LANE_LIMIT, LANE_LIMIT), min_size=1, max_size=40), data=st.data())
def test_any_points_of_two_clients_are_exact(name: str, values: list[int], data: st.DataObject) -> None:
    keyed = keyed_engine(name)
    first = np.array(values, np.int64)
    room = st.tuples(*(st.integers(max(-LANE_LIMIT, -LANE_LIMIT - v), min(LANE_LIMIT, LANE_LIMIT - v)) for v in values))
    second = np.array(data.draw(room), np.int64)
    np.testing.assert_array_equal(
        keyed.engine.decrypt(keyed.key, keyed.total([first, second]), len(values)), first + second
    )


@pytest.mark.parametrize("name", ["None", "BFV", "CKKS"])
def test_as_many_clients_as_are_declared_with_the_largest_sums(name: str) -> None:
    keyed = keyed_engine(name)
    clients = keyed.engine.facts.most_clients
    points = keyed.points(12, clients)
    total = keyed.total(points)
    np.testing.assert_array_equal(keyed.engine.decrypt(keyed.key, total, 12), np.sum(points, axis=0))


def encrypted_mean(keyed: Keyed, vectors: list[np.ndarray], weights: np.ndarray, reach: float) -> np.ndarray:
    """The weighted mean of vectors within +-reach, as gates compute it without noise: nearest rounding, then a sum."""
    step = reach / (LANE_LIMIT - len(vectors) / 2)  # every rounding may be half a step up
    points = [np.rint(w * v / step).astype(np.int64) for w, v in zip(weights, vectors, strict=True)]
    return keyed.engine.decrypt(keyed.key, keyed.total(points), len(vectors[0])) * step


@settings(max_examples=40, deadline=None)
@given(
    name=ENGINES,
    clients=st.one_of(st.integers(1, 12), st.integers(13, 64)),
    reach=st.floats(1e-6, 1e3),
    seed=st.integers(0, 2**32),
)
def test_a_mean_is_off_by_no_more_than_rounding(name: str, clients: int, reach: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    weights = generator.dirichlet(np.ones(clients))
    vectors = list(generator.uniform(-reach, reach, (clients, 50)))
    for vector in vectors:
        vector[0], vector[1] = reach, -reach
    found = encrypted_mean(keyed_engine(name), vectors, weights, reach)
    error = np.abs(found - weights @ np.array(vectors)).max() / (2 * reach)
    assert error <= (clients / 2 + 1) * 2.0**-19
    if clients <= 10:
        assert error <= 1e-5


def test_what_does_not_fit_moves_its_own_lane_and_its_neighbour_by_one() -> None:
    """Documented in lanes.py: who quantises leaves room; the engine cannot see an overflow of the lower lanes."""
    keyed = keyed_engine("BFV")
    slots = keyed.engine.facts.slots
    points = np.zeros(slots, np.int64)
    points[0] = LANE_LIMIT
    sums = keyed.engine.decrypt(keyed.key, keyed.total([points, points]), slots)
    assert sums[0] == 2 * LANE_LIMIT - 2**19
    assert sums[slots // 3] == 1
    assert not sums[np.setdiff1d(np.arange(slots), [0, slots // 3])].any()


def test_engines_agree() -> None:
    points = keyed_engine("None").points(5000, clients=5)
    found = []
    for name in ("None", "BFV", "CKKS"):
        keyed = keyed_engine(name)
        found.append(engine_of(keyed.engine.facts.scheme).decrypt(keyed.key, keyed.total(points), 5000))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
