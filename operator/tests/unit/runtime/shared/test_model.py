"""The shared model does what the server of an open job does, and a round that is not committed changes nothing."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.runtime.aggregation import AggregationError, Arrays, Update, build_strategy
from hanse.runtime.codec import Layout
from hanse.runtime.shared import NotNextError, SharedModel, SharedModelError
from tests.unit.runtime.shared.steps import MEMBERS, SIZE, SPECS, after, shared_model, whole_numbers

STEP = 2.0**-18


@pytest.fixture(params=sorted(SPECS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def everything(model: SharedModel) -> tuple[object, ...]:
    return model.round, model.contributors, model.range, model.digests, model.to_bytes()


def summed(vectors: Sequence[np.ndarray], counts: Sequence[int]) -> np.ndarray:
    """As an encrypted round: each scales by its records over the most, rounds to the grid, and integers are added."""
    scales = [count / max(counts) for count in counts]
    total = sum(np.rint(v * s / STEP).astype(np.int64) for v, s in zip(vectors, scales, strict=True))
    return np.asarray(total * STEP / sum(scales), np.float64)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(SPECS)),
    counts=st.lists(st.integers(1, 10**5), min_size=2, max_size=5),
    seed=st.integers(0, 2**32),
)
def test_equals_the_open_path_within_the_rounding_of_the_grid(name: str, counts: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    arrays = {"b": generator.normal(size=(4, 3)), "a": generator.normal(size=7)}
    layout, spec = Layout.of(arrays), SPECS[name]
    members = [f"p{i}" for i in range(len(counts))]
    model = SharedModel.first(arrays, layout, spec, members=members, rounds=9, range=1.0)
    strategy, plain = build_strategy(spec), arrays
    worst = STEP / 2 * len(counts) / (sum(counts) / max(counts))
    allowed = worst + 1e-12
    for number in range(1, 4):
        vectors = [generator.uniform(-0.5, 0.5, layout.size) for _ in counts]
        updates: list[Update] = []
        for member, vector, count in zip(members, vectors, counts, strict=True):
            moved = layout.unflatten(layout.flatten(plain) + vector)
            updates.append(Update(member, {key: moved[key] for key in plain}, count))
        plain = strategy.aggregate(plain, updates)
        model.commit(model.apply(number, summed(vectors, counts), members))
        if spec.strategy in ("FedAdam", "FedYogi"):
            # A step is rate * m / (sqrt(v) + tau): with tau .01 it passes on an error of m at most twentyfold in a
            # round, and one of v by less; bias correction stays under 1.1 here.
            np.testing.assert_allclose(model.vector(), layout.flatten(plain), atol=60 * worst * number)
        else:
            np.testing.assert_allclose(model.vector(), layout.flatten(plain), atol=allowed * number)
    assert tuple(model.arrays) == ("b", "a")


def test_a_gradient_makes_one_step_of_the_rate() -> None:
    model, mean = shared_model("FedAvg", None), whole_numbers(5, SIZE) / 2**20
    before = model.vector()
    model.commit(model.apply(1, mean, ["a", "b"], 0.25))
    moved = model.vector() - before
    np.testing.assert_allclose(moved, -0.25 * mean, atol=1e-3)  # one of the arrays is float16
    assert model.range is None


def test_only_shared_arrays_change_and_all_keep_order_shape_and_dtype(name: str) -> None:
    first = shared_model(name)
    arrays = {k: a.copy() for k, a in first.arrays.items()}
    layout = Layout.of(arrays, ["bias"])
    model = SharedModel.first(arrays, layout, SPECS[name], members=MEMBERS, rounds=9, range=1.0)
    model.commit(model.apply(1, whole_numbers(3, layout.size) / 2**18, ["a", "b"]))
    kinds = [(k, a.shape, a.dtype) for k, a in model.arrays.items()]
    assert kinds == [(k, a.shape, a.dtype) for k, a in arrays.items()]
    same = {k for k, a in model.arrays.items() if a.tobytes() == arrays[k].tobytes()}
    assert same == {"bias", "batches"}


def test_a_void_round_leaves_everything_as_it_was(name: str) -> None:
    model, other = after(shared_model(name), 1, 3), after(shared_model(name), 1, 3)
    before = everything(model)
    model.apply(4, whole_numbers(4, SIZE) / 2**17, ["a", "b"])  # nobody commits it
    with pytest.raises(AggregationError, match="not finite"):
        model.apply(5, np.full(SIZE, 1e300), ["a", "b"])
    with pytest.raises(AggregationError, match="not finite"):
        model.apply(5, np.full(SIZE, np.nan), ["a", "b"])
    with pytest.raises(SharedModelError, match="not participants"):
        model.apply(5, np.zeros(SIZE), ["a", "z"])
    with pytest.raises(SharedModelError, match="not one of"):
        model.apply(5, np.zeros(1), ["a", "b"])
    assert everything(model) == before
    # Round 4 was void: round 5 steps from round 3, as at a gate that has not seen round 4 at all.
    mean = whole_numbers(5, SIZE) / 2**17
    candidates = [m.apply(5, mean, ["a", "c"]) for m in (model, other)]
    assert candidates[0].digests == candidates[1].digests
    assert candidates[0].base == 3
    assert everything(model) == before


def test_a_candidate_commits_once_and_from_its_base_alone() -> None:
    model, mean = shared_model("FedAdam"), whole_numbers(9, SIZE) / 2**17
    first, same_base = model.apply(1, mean, ["a", "b"]), model.apply(2, mean, ["a", "b"])
    model.commit(first)
    assert (model.round, model.digests) == (1, first.digests)
    for stale in (first, same_base):
        with pytest.raises(NotNextError):
            model.commit(stale)
    for number in (0, 1, 1001):
        with pytest.raises(NotNextError):
            model.apply(number, mean, ["a", "b"])
    assert (model.round, model.digests) == (1, first.digests)


def test_contributors_add_up_over_committed_rounds() -> None:
    model, mean = shared_model("FedAvg"), whole_numbers(9, SIZE) / 2**17
    model.commit(model.apply(1, mean, ["a", "b"]))
    model.apply(2, mean, ["c", "b"])
    assert model.contributors == {"a", "b"}
    model.commit(model.apply(3, mean, ["b"]))
    assert model.contributors == {"a", "b"}
    model.commit(model.apply(4, mean, ["c", "b"]))
    assert model.contributors == {"a", "b", "c"}


def test_digests_tell_every_part_of_the_state_apart() -> None:
    model, mean = shared_model("FedAdam"), whole_numbers(9, SIZE) / 2**17
    base = model.apply(1, mean, ["a", "b"]).digests
    other_list = model.apply(1, mean, ["a", "c"]).digests
    other_round = model.apply(2, mean, ["a", "b"]).digests
    assert base.model == other_list.model == other_round.model
    assert len({base.state, other_list.state, other_round.state}) == 3
    other_range = shared_model("FedAdam", 4.0).apply(1, mean, ["a", "b"]).digests
    assert base.model == other_range.model
    assert base.state != other_range.state
    # Moments alone: with a step of zero the model stays.
    still = [after(shared_model(n), 1, 1).apply(2, mean * 0, ["a", "b"]).digests.state for n in ("FedAdam", "FedYogi")]
    assert still[0] != still[1]


def test_refuses_what_has_no_exact_arithmetic() -> None:
    arrays: Arrays = {"w": np.zeros(3, np.longdouble)}
    with pytest.raises(SharedModelError, match="dtype"):
        SharedModel.first(arrays, Layout.of(arrays), SPECS["FedAvg"], members=MEMBERS, rounds=1, range=None)
    for reach in (0.0, float("inf"), float("nan")):
        with pytest.raises(SharedModelError, match="range"):
            shared_model("FedAvg", reach)
