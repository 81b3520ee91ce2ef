"""Unit Record in torch: what one record can change, and that nothing else leaves the app."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hanse.api.participant import DatasetSchema
from hanse.api.privacy import PrivacyPlan
from hanse.runtime.apps import ConfigError, DatasetError, tabular, vision
from hanse.runtime.apps.gradients import clipped_sum

RANGES = {"x": {"low": "0", "high": "100"}, "flag": {"low": "0", "high": "1"}}
SCHEMA = DatasetSchema(id="id", label="late", features=["x", "flag"], ranges=RANGES)
CONFIG = {"pieces": 4, "model": "logistic", "learning-rate": 1.0, "seed": 7}
RECORDS = 120
Ask = Callable[..., Any]
Where = Callable[..., Context]


def plan(**changes: Any) -> PrivacyPlan:
    fields = {
        "unit": "Record",
        "adjacency": "AddRemove",
        "epsilon": "3",
        "delta": "1e-5",
        "clip": "0.5",
        "sample_rate": "1",
        "expected_batch": 100,
        "noise_multipliers": ["5"],
    }
    return PrivacyPlan(**{**fields, **changes})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    rows = [f"{n},{generator.uniform(0, 100)},{n % 2},{int(generator.random() < 0.4)}" for n in range(RECORDS)]
    path = tmp_path / "loans.csv"
    path.write_text("\n".join(["id,x,flag,late", *rows]) + "\n")
    return path


def private(context: Where, data: Path, asked: PrivacyPlan, config: dict[str, Any] | None = None) -> Context:
    where = context(data, SCHEMA, CONFIG if config is None else config)
    where.node_config["privacy"] = json.dumps(asked.to_wire())
    return where


def plain(record: ArrayRecord) -> dict[str, Any]:
    return {name: array.numpy() for name, array in record.items()}


def train(ask: Ask, where: Context) -> Any:
    arrays = ask(tabular.app, "query.initial", where)["arrays"]
    return ask(tabular.app, "train", where, arrays=arrays, config=ConfigRecord({"server-round": 1}))


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def flat(sums: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([part.flatten() for part in sums.values()])


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([1e-3, 0.5, 1e4]),
    st.sampled_from([0, 1, 7]),
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
)
def test_a_record_more_moves_the_sum_by_no_more_than_the_clip(
    seed: int, clip: float, others: int, record: list[float]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.cat([torch.randn(others, 3, generator=generator), torch.tensor([record])])
    targets = torch.randint(0, 2, (others + 1,), generator=generator)
    with_it = clipped_sum(network(seed), nn.functional.cross_entropy, (inputs, targets), clip)
    data = (inputs[:others], targets[:others])
    without = clipped_sum(network(seed), nn.functional.cross_entropy, data, clip)
    assert float((flat(with_it) - flat(without)).norm()) <= clip * (1 + 1e-9)


def test_the_sum_is_that_of_gradients_clipped_one_by_one() -> None:
    torch.manual_seed(0)
    inputs, targets, clip = torch.randn(40, 3) * 3, torch.randint(0, 2, (40,)), 1.5
    found = flat(clipped_sum(network(1), nn.functional.cross_entropy, (inputs, targets), clip))
    expected = torch.zeros_like(found)
    lengths = []
    for record, target in zip(inputs.double(), targets, strict=True):
        module = network(1).double()
        nn.functional.cross_entropy(module(record[None]), target[None]).backward()
        gradient = torch.cat([p.grad.flatten() for p in module.parameters()])
        lengths.append(float(gradient.norm()))
        expected += gradient * min(1.0, clip / lengths[-1])
    assert min(lengths) < clip < max(lengths)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_large_data_come_in_parts_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = (torch.randn(33, 3), torch.randint(0, 2, (33,)))
    whole = flat(clipped_sum(network(2), nn.functional.cross_entropy, data, 0.5))
    monkeypatch.setattr("hanse.runtime.apps.gradients._RECORDS", 8)
    torch.testing.assert_close(flat(clipped_sum(network(2), nn.functional.cross_entropy, data, 0.5)), whole)


def test_a_record_without_a_finite_gradient_counts_as_zero() -> None:
    inputs, targets = torch.randn(5, 3), torch.randint(0, 2, (5,))
    spoilt = inputs.clone()
    spoilt[2] = float("nan")
    kept = [0, 1, 3, 4]
    expected = clipped_sum(network(3), nn.functional.cross_entropy, (inputs[kept], targets[kept]), 0.5)
    found = clipped_sum(network(3), nn.functional.cross_entropy, (spoilt, targets), 0.5)
    torch.testing.assert_close(flat(found), flat(expected))


def test_batch_normalisation_is_refused_with_its_remedy() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    with pytest.raises(ConfigError, match=r"layer 1 is BatchNorm.*needs GroupNorm"):
        clipped_sum(module, nn.functional.cross_entropy, (torch.randn(4, 3), torch.zeros(4, dtype=torch.long)), 1.0)


def test_the_reply_is_the_sum_and_the_fixed_expected_batch(ask: Ask, context: Where, data: Path) -> None:
    reply = train(ask, private(context, data, plan()))
    assert set(reply) == {"arrays", "metrics"}
    assert dict(reply["metrics"]) == {"num-examples": 100}
    arrays = plain(reply["arrays"])
    assert {n: (a.shape, str(a.dtype)) for n, a in arrays.items()} == {
        "layer0.weight": ((1, 5), "float64"),
        "layer0.bias": ((1,), "float64"),
    }
    assert 0 < np.sqrt(sum(float(np.square(a).sum()) for a in arrays.values())) <= 0.5 * RECORDS


def test_an_empty_batch_gives_zeros(ask: Ask, context: Where, data: Path) -> None:
    reply = train(ask, private(context, data, plan(sample_rate="1e-30", expected_batch=1)))
    assert dict(reply["metrics"]) == {"num-examples": 1}
    assert all((array == 0).all() for array in plain(reply["arrays"]).values())


def test_each_round_draws_its_own_records(ask: Ask, context: Where, data: Path) -> None:
    where = private(context, data, plan(sample_rate="0.5", expected_batch=60))
    first, second = (plain(train(ask, where)["arrays"])["layer0.weight"] for _ in range(2))
    assert (first != second).any()


def test_counts_are_of_all_records_apart_from_those_trained_on(ask: Ask, context: Where, data: Path) -> None:
    counted = plan(evaluation={"noise_multiplier": "1", "bins": 8, "every_rounds": 1})
    where = private(context, data, counted, {**CONFIG, "evaluation-fraction": 0.5})
    arrays = ask(tabular.app, "query.initial", where)["arrays"]
    reply = ask(tabular.app, "evaluate", where, arrays=arrays, config=ConfigRecord({"server-round": 1}))
    assert list(reply) == ["histograms"]
    counts = plain(reply["histograms"])
    assert {n: (a.shape, str(a.dtype)) for n, a in counts.items()} == {
        "scores": ((2, 8), "int64"),
        "loss": ((1, 8), "int64"),
    }
    evaluated = int(counts["scores"].sum())
    assert 0.3 * RECORDS < evaluated == counts["loss"].sum() < 0.7 * RECORDS


def test_statistics_are_counts_over_the_declared_ranges(ask: Ask, context: Where, data: Path) -> None:
    counted = plan(statistics={"noise_multiplier": "1", "bins": 4})
    where = private(context, data, counted, {"model": "logistic"})
    counts = plain(ask(tabular.app, "query.statistics", where)["histograms"])["features"]
    assert counts.shape == (2, 4)
    assert counts.sum(axis=1).tolist() == [RECORDS, RECORDS]
    assert counts[1].tolist() == [RECORDS // 2, 0, 0, RECORDS // 2]


def test_the_first_model_needs_no_data(ask: Ask, context: Where, data: Path) -> None:
    nowhere = context(data, SCHEMA, CONFIG)
    nowhere.node_config["data-path"] = ""
    first, there = (ask(tabular.app, "query.initial", w) for w in (nowhere, private(context, data, plan())))
    assert first["app"] == there["app"]
    assert first["app"]["statistics"] is False
    for name, array in plain(first["arrays"]).items():
        np.testing.assert_array_equal(array, plain(there["arrays"])[name])


@pytest.mark.parametrize("key", ["momentum", "local-epochs", "batch-size", "weight-decay"])
def test_keys_that_mean_nothing_to_unit_record_are_named(context: Where, data: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} has no effect with unit Record"):
        tabular.preflight(private(context, data, plan(), {**CONFIG, key: "1" if "-" in key else "0.5"}))


def test_preflight_wants_the_range_of_every_feature(context: Where, data: Path) -> None:
    tabular.preflight(private(context, data, plan()))
    where = private(context, data, plan())
    where.node_config["dataset-schema"] = json.dumps({"label": "late", "features": ["x"], "ranges": {}})
    with pytest.raises(DatasetError, match=r"the range of each.*x missing"):
        tabular.preflight(where)


def test_pieces_go_with_ranges_and_without_statistics(context: Where, data: Path) -> None:
    with pytest.raises(ConfigError, match="pieces are cut by ranges alone"):
        tabular.preflight(private(context, data, plan(statistics={"noise_multiplier": "1", "bins": 4})))
    with pytest.raises(ConfigError, match="pieces needs the range of each feature; x has none"):
        tabular.preflight(context(data, DatasetSchema(id="id", label="late", features=["x"]), {"pieces": 2}))


def test_the_vision_app_clips_each_image(ask: Ask, context: Where, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    path = tmp_path / "images.npz"
    np.savez(path, images=generator.random((6, 8, 8), np.float32), label=np.arange(6) % 3)
    where = context(path, DatasetSchema(label="label"), {"image-size": 8, "classes": 3, "filters": 4})
    where.node_config["privacy"] = json.dumps(plan(clip="0.01", expected_batch=6).to_wire())
    vision.preflight(where)
    arrays = ask(vision.app, "query.initial", where)["arrays"]
    sent = ArrayRecord({name: Array(array) for name, array in plain(arrays).items()})
    reply = plain(ask(vision.app, "train", where, arrays=sent, config=ConfigRecord({"server-round": 1}))["arrays"])
    assert list(reply) == list(plain(arrays))
    length = np.sqrt(sum(float(np.square(a).sum()) for a in reply.values()))
    assert 0 < length <= 0.06


def test_the_vision_app_refuses_to_count(context: Where, tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", images=np.zeros((6, 8, 8), np.float32), label=np.arange(6) % 3)
    config = {"image-size": 8, "classes": 3}
    where = context(tmp_path / "images.npz", DatasetSchema(label="label"), config)
    counted = plan(evaluation={"noise_multiplier": "1", "bins": 8, "every_rounds": 1})
    where.node_config["privacy"] = json.dumps(counted.to_wire())
    with pytest.raises(ConfigError, match="counts nothing"):
        vision.preflight(where)


@pytest.mark.parametrize("clip", [0.9, 1e9])
@pytest.mark.parametrize("asked", [{"model": "logistic"}, {"model": "mlp"}, {"model": "mlp", "hidden-units": "6,4"}])
def test_the_benchmark_in_numpy_computes_the_same(asked: dict[str, str], clip: float) -> None:
    network = pytest.importorskip("e2e.benchmarks.network", reason="the checkout's e2e is not here")
    torch.manual_seed(5)
    inputs, targets = torch.randn(50, 5).double(), torch.randint(0, 2, (50,)).double()
    settings = tabular.TabularSettings.parse(asked)
    module = tabular.build(5, settings)
    same = network.Network(5, settings.hidden_units if settings.model == "mlp" else ())
    model = flat({n: p.detach().double() for n, p in module.named_parameters()}).numpy()
    assert [(n, a.shape) for n, a in same.named(model).items()] == [
        (n, tuple(p.shape)) for n, p in module.state_dict().items()
    ]
    found = flat(clipped_sum(module, tabular._loss, (inputs, targets), clip)).numpy()
    np.testing.assert_allclose(same.gradient_sum(model, inputs.numpy(), targets.numpy(), clip), found, rtol=1e-9)
    with torch.no_grad():
        scores = torch.sigmoid(module(inputs)[:, 0]).numpy()
    np.testing.assert_allclose(same.scores(model, inputs.numpy()), scores, rtol=1e-10)


def test_the_benchmark_has_the_hidden_layer_that_the_app_has_by_default() -> None:
    network = pytest.importorskip("e2e.benchmarks.network", reason="the checkout's e2e is not here")
    assert tabular.TabularSettings().hidden_units == network.HIDDEN
