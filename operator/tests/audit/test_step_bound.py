"""How far honest models step: rounds of every strategy under real noise, and updates made to step far."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hanse.api.aggregation import Aggregation, StrategyName
from hanse.runtime.aggregation import Update, build_strategy
from hanse.runtime.aggregation.stepbound import StepTooLargeError, check_step, largest_step, largest_update
from hanse.runtime.codec import Codec, Layout
from hanse.runtime.noise import ReleaseNoise
from tests.unit.runtime.codec.plans import compression, plan, seed, update
from tests.unit.runtime.noise.streams import fixed

STRATEGIES: list[StrategyName] = ["FedAvg", "FedProx", "FedAdam", "FedYogi"]
ROUNDS = 20
MODEL = {"a": np.linspace(-1, 1, 60).astype(np.float32), "b": np.full((4, 5), 0.1, np.float32)}
LAYOUT = Layout.of(MODEL)
PLANS = {
    "silo": plan("Silo", *[1.5] * ROUNDS),
    "silo-decreasing": plan("Silo", *np.geomspace(4, 0.5, ROUNDS).tolist()),
    "record": plan("Record", *[2.0] * ROUNDS, batch=30),
}
RATE = 0.3


def mean_of_three(number: int, job: Any, smaller: Any, clipped: float) -> list[NDArray[np.float64]]:
    """What the aggregator decodes of three honest participants' full-length updates."""
    codec = Codec.of(LAYOUT, seed(number), job, smaller)
    decoded = []
    for index in range(3):
        vector = update(LAYOUT.size, clipped, 3 * number + index)
        noise = ReleaseNoise(fixed(f"{number} {index}"))
        received = codec.decode(codec.encode(vector, noise).message)
        decoded.append(received * (-RATE / 30 if job.unit == "Record" else 1.0))
    return decoded


@pytest.mark.parametrize("smaller", [None, compression(15), compression(None, "0.3")], ids=["full", "15", "sparse"])
@pytest.mark.parametrize("job", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("name", STRATEGIES)
def test_twenty_honest_rounds_pass(name: StrategyName, job: Any, smaller: Any) -> None:
    spec = Aggregation(strategy=name)
    strategy, model = build_strategy(spec), dict(MODEL)
    reach = largest_update(LAYOUT, job, smaller, rate=RATE, smallest_batch=30)
    longest = 0.0
    for number in range(1, ROUNDS + 1):
        before = LAYOUT.flatten(model)
        updates = [
            Update(f"p{index}", LAYOUT.unflatten(before + vector), 100 * (index + 1))
            for index, vector in enumerate(mean_of_three(number, job, smaller, 30.0))
        ]
        model = strategy.aggregate(model, updates)
        bound = largest_step(spec, reach, LAYOUT.size, number)
        check_step(before, LAYOUT.flatten(model), bound, LAYOUT.precision)
        longest = max(longest, float(np.linalg.norm(LAYOUT.flatten(model) - before)) / bound)
    assert longest > 0.02  # the bound is no blank cheque


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_jump_is_refused(name: StrategyName) -> None:
    spec = Aggregation(strategy=name)
    bound = largest_step(spec, largest_update(LAYOUT, PLANS["silo"]), LAYOUT.size, 5)
    before = LAYOUT.flatten(MODEL)
    jump = before + update(LAYOUT.size, 1.01 * bound)
    with pytest.raises(StepTooLargeError):
        check_step(before, jump, bound, LAYOUT.precision)
    check_step(before, before + update(LAYOUT.size, 0.99 * bound), bound, LAYOUT.precision)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_model_that_is_not_finite_is_refused(bad: float) -> None:
    before = LAYOUT.flatten(MODEL)
    after = before.copy()
    after[3] = bad
    with pytest.raises(StepTooLargeError):
        check_step(before, after, 1e9, LAYOUT.precision)


def test_an_unchanged_model_passes() -> None:
    before = LAYOUT.flatten(MODEL)
    check_step(before, before, 0.0, LAYOUT.precision)


@given(
    st.sampled_from(["FedAdam", "FedYogi"]),
    st.lists(st.floats(-6, 6), min_size=1, max_size=25),
    st.sampled_from(["0.0", "0.5", "0.9", "0.99"]),
    st.sampled_from(["0.1", "0.9", "0.99", "0.999"]),
    st.sampled_from(["0.000000001", "0.001", "0.1"]),
    st.integers(0, 2**32),
)
@settings(max_examples=200, deadline=None)
def test_no_sequence_of_updates_steps_further(
    name: StrategyName, scales: list[float], beta1: str, beta2: str, tau: str, number: int
) -> None:
    """Updates over twelve orders of magnitude, which is what drives m / sqrt(v) up."""
    spec = Aggregation(strategy=name, beta1=beta1, beta2=beta2, tau=tau)
    strategy = build_strategy(spec)
    model = {"w": np.zeros(3)}
    random = np.random.default_rng(number)
    largest = 0.0
    for step, scale in enumerate(scales, 1):
        vector = random.choice([-1.0, 1.0], size=3) * 10.0**scale
        largest = max(largest, float(np.linalg.norm(vector)))
        after = strategy.aggregate(model, [Update("p", {"w": model["w"] + vector}, 1)])
        bound = largest_step(spec, largest, 3, step)
        # Near-cancellation of w + vector - w costs digits; the vectors are up to 1e6.
        assert np.linalg.norm(after["w"] - model["w"]) <= bound * (1 + 1e-6)
        model = {"w": np.zeros(3)}


def test_a_growing_sequence_comes_close_to_the_adaptive_bound() -> None:
    """Updates that grow by b2 / b1 a round meet Cauchy and Schwarz with equality."""
    spec = Aggregation(strategy="FedAdam", tau="0.000000001")
    strategy = build_strategy(spec)
    zero = {"w": np.zeros(1)}
    for step in range(1, 31):
        after = strategy.aggregate(zero, [Update("p", {"w": np.array([(0.99 / 0.9) ** (step - 30)])}, 1)])
    ratio = float(after["w"][0]) / largest_step(spec, 1.0, 1, 30)
    assert 0.6 < ratio <= 1


def test_decays_of_zero_are_bounded_by_the_update() -> None:
    for name in ("FedAdam", "FedYogi"):
        spec = Aggregation(strategy=name, beta1="0.9", beta2="0.0", tau="0.5")
        assert largest_step(spec, 2.0, 100, 1000) <= 1.0 * 2.0 / 0.5
    flat = Aggregation(strategy="FedAdam", beta1="0.99", beta2="0.000001")
    assert math.isfinite(largest_step(flat, 2.0, 100, 1000))


def test_the_bound_knows_the_learning_rate_and_the_batch() -> None:
    small, large = (largest_update(LAYOUT, PLANS["record"], rate=0.1, smallest_batch=batch) for batch in (300, 30))
    assert large == pytest.approx(10 * small)
    one, two = (
        largest_step(Aggregation(strategy="FedYogi", server_learning_rate=rate), 1.0, 50, 3) for rate in ("0.1", "0.2")
    )
    assert two == pytest.approx(2 * one)
