"""One suite for every strategy: what the aggregator relies on, and Flower's own strategy as the oracle."""

import time
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, Metadata, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.api.job import Aggregation
from hanse.runtime.aggregation import (
    Arrays,
    MismatchError,
    NonFiniteError,
    NoWeightError,
    Strategy,
    Update,
    build_strategy,
)
from hanse.runtime.aggregation.checkpoint import Checkpoint, load, save

SPECS = {
    "FedAvg": Aggregation(strategy="FedAvg"),
    "FedProx": Aggregation(strategy="FedProx", proximal_mu="0.1"),
    "FedAdam": Aggregation(strategy="FedAdam", server_learning_rate="0.05", beta1="0.8", beta2="0.95", tau="1e-2"),
    "FedYogi": Aggregation(strategy="FedYogi", server_learning_rate="0.05", beta1="0.8", beta2="0.95", tau="1e-2"),
}
ORACLES: dict[str, Any] = {
    "FedAvg": lambda: flower.FedAvg(),
    "FedProx": lambda: flower.FedProx(proximal_mu=0.1),
    "FedAdam": lambda: flower.FedAdam(eta=0.05, beta_1=0.8, beta_2=0.95, tau=1e-2),
    "FedYogi": lambda: flower.FedYogi(eta=0.05, beta_1=0.8, beta_2=0.95, tau=1e-2),
}


ASKED = Message(
    RecordDict(),
    metadata=Metadata(
        run_id=1,
        message_id="asked",
        src_node_id=1,
        dst_node_id=2,
        reply_to_message_id="",
        group_id="",
        created_at=time.time(),
        ttl=3600.0,
        message_type="train",
    ),
)


@pytest.fixture(params=sorted(SPECS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def model(seed: int, dtype: type = np.float32) -> Arrays:
    generator = np.random.default_rng(seed)
    return {
        "weight": generator.normal(size=(3, 4)).astype(dtype),
        "bias": generator.normal(size=4).astype(dtype),
        "scalar": np.asarray(generator.normal(), dtype),
    }


def client(arrays: Arrays, participant: int, round_: int) -> Update:
    """A deterministic client: its update is a function of the model, its index and the round."""
    generator = np.random.default_rng([participant, round_])
    moved = {k: np.asarray(0.9 * a + generator.normal(size=a.shape), a.dtype) for k, a in arrays.items()}
    return Update(f"bank-{participant}", moved, 100 * (participant + 1))


def rounds(strategy: Strategy, arrays: Arrays, first: int, last: int) -> Arrays:
    for round_ in range(first, last + 1):
        arrays = strategy.aggregate(arrays, [client(arrays, p, round_) for p in range(3)])
    return arrays


def as_replies(updates: list[Update]) -> list[Message]:
    return [
        Message(
            RecordDict(
                {
                    "arrays": ArrayRecord({k: Array(v) for k, v in u.arrays.items()}),
                    "metrics": MetricRecord({"num-examples": u.num_examples}),
                }
            ),
            reply_to=ASKED,
        )
        for u in updates
    ]


def test_equals_flowers_own_strategy_over_ten_rounds(name: str) -> None:
    strategy, oracle = build_strategy(SPECS[name]), ORACLES[name]()
    arrays = model(0, np.float64)
    for round_ in range(1, 11):
        updates = [client(arrays, p, round_) for p in range(3)]
        oracle.current_arrays = dict(arrays)
        record, _ = oracle.aggregate_train(round_, as_replies(updates))
        arrays = strategy.aggregate(arrays, updates)
        for key, array in record.items():
            np.testing.assert_allclose(arrays[key], array.numpy(), rtol=1e-12, atol=1e-14)


def test_resumed_from_a_checkpoint_equals_the_unbroken_run_bit_for_bit(name: str, tmp_path: Any) -> None:
    unbroken = rounds(build_strategy(SPECS[name]), model(1), 1, 8)
    first = build_strategy(SPECS[name])
    half = rounds(first, model(1), 1, 3)
    save(Checkpoint("uid", 3, half, first.state()), tmp_path / "checkpoint")
    saved = load(tmp_path / "checkpoint")
    second = build_strategy(SPECS[name])
    second.load_state(saved.strategy_state)
    resumed = rounds(second, saved.arrays, saved.round + 1, 8)
    assert {k: a.tobytes() for k, a in resumed.items()} == {k: a.tobytes() for k, a in unbroken.items()}


def test_keeps_names_shapes_and_dtypes_and_averages_counters(name: str) -> None:
    arrays = model(2) | {"half": np.ones(2, np.float16), "batches": np.asarray(3, np.int64)}
    updates = [
        Update("a", arrays | {"batches": np.asarray(10)}, 1),
        Update("b", arrays | {"batches": np.asarray(7)}, 3),
    ]
    result = build_strategy(SPECS[name]).aggregate(arrays, updates)
    assert {k: (a.shape, a.dtype) for k, a in result.items()} == {k: (a.shape, a.dtype) for k, a in arrays.items()}
    assert result["batches"] == 8  # 7.75, rounded


def test_no_change_means_no_step(name: str) -> None:
    arrays = model(3)
    result = build_strategy(SPECS[name]).aggregate(arrays, [Update("a", arrays, 5), Update("b", arrays, 3)])
    for key in arrays:
        np.testing.assert_allclose(result[key], arrays[key], rtol=1e-6)


def test_equal_weights_ignore_the_number_of_records(name: str) -> None:
    arrays = model(4)
    spec = SPECS[name].model_copy(update={"weights": "Equal"})
    results = []
    for counts in ((1, 1, 1), (5, 70, 900)):
        updates = [Update(str(p), client(arrays, p, 1).arrays, n) for p, n in enumerate(counts)]
        results.append(build_strategy(spec).aggregate(arrays, updates))
    assert all(np.array_equal(results[0][k], results[1][k]) for k in arrays)


def test_other_names_or_shapes_are_refused_and_change_no_state(name: str) -> None:
    strategy, arrays = build_strategy(SPECS[name]), model(5)
    strategy.aggregate(arrays, [client(arrays, 0, 1)])
    before = {k: a.tobytes() for k, a in strategy.state().items()}
    with pytest.raises(MismatchError, match=r"bank-x.*shape"):
        strategy.aggregate(arrays, [Update("bank-x", arrays | {"bias": np.zeros(1, np.float32)}, 1)])
    with pytest.raises(MismatchError, match=r"bank-x.*more"):
        strategy.aggregate(arrays, [Update("bank-x", arrays | {"more": np.zeros(1, np.float32)}, 1)])
    with pytest.raises(NoWeightError):
        strategy.aggregate(arrays, [Update("bank-x", arrays, 0)])
    with pytest.raises(NonFiniteError, match="bias"):
        strategy.aggregate(arrays, [Update("bank-x", arrays | {"bias": np.full(4, np.nan, np.float32)}, 1)])
    assert {k: a.tobytes() for k, a in strategy.state().items()} == before


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.integers(1, 10**6), min_size=1, max_size=6),
    seed=st.integers(0, 2**32 - 1),
)
def test_fedavg_stays_between_the_smallest_and_the_largest(counts: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = [generator.normal(scale=1e3, size=5).astype(np.float32) for _ in counts]
    updates = [Update(str(i), {"w": v}, n) for i, (v, n) in enumerate(zip(values, counts, strict=True))]
    mean = build_strategy(SPECS["FedAvg"]).aggregate({"w": np.zeros(5, np.float32)}, updates)["w"]
    slack = 1e-6 * np.max(np.abs(values))
    assert np.all(mean >= np.min(values, axis=0) - slack)
    assert np.all(mean <= np.max(values, axis=0) + slack)


def test_only_fedprox_tells_the_clients_a_proximal_term() -> None:
    told = {name: build_strategy(spec).train_config() for name, spec in SPECS.items()}
    assert told == {"FedAvg": {}, "FedProx": {"proximal-mu": 0.1}, "FedAdam": {}, "FedYogi": {}}
