"""The tabular ClientApp, through its messages."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context

from hanse.api.job import Aggregation
from hanse.api.participant import DatasetSchema
from hanse.runtime.aggregation import Update, arrays_digest, build_strategy
from hanse.runtime.aggregation.model import read_model, write_model
from hanse.runtime.aggregation.predict import predictor
from hanse.runtime.apps import ConfigError, DatasetError, tabular

SCHEMA = DatasetSchema(id="id", label="late", features=["x", "y", "constant"])
CONFIG: dict[str, Any] = {"hidden-units": "8,4", "batch-size": 16, "learning-rate": 0.1, "momentum": 0.9, "seed": 7}
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
Ask = Callable[..., Any]
Where = Callable[..., Context]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    rows = ["id,x,y,constant,late"]
    for number in range(400):
        x, y = generator.normal(50, 10), generator.normal(0, 0.1)
        late = int((x - 50) / 10 + y * 10 > 0)
        rows.append(f"{number},{x},{y},3,{late}")
    path = tmp_path / "loans.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def where(data: Path, context: Where) -> Context:
    return context(data, SCHEMA, CONFIG)


def known(ask: Ask, where: Context) -> ConfigRecord:
    sums = ask(tabular.app, "query.statistics", where)["statistics"]
    mean = np.array(sums["sum"]) / sums["count"]
    scale = np.sqrt(np.maximum(np.array(sums["sum-squares"]) / sums["count"] - mean**2, 1e-9))
    return ConfigRecord({"mean": mean.tolist(), "scale": scale.tolist()})


def train(ask: Ask, where: Context, arrays: ArrayRecord, number: int = 1, **config: float) -> Any:
    told = ConfigRecord({"server-round": number, **config})
    return ask(tabular.app, "train", where, arrays=arrays, config=told, statistics=known(ask, where))


def plain(record: ArrayRecord) -> dict[str, Any]:
    return {name: array.numpy() for name, array in record.items()}


def wired(arrays: dict[str, Any]) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def test_the_first_model_depends_on_the_seed_alone(ask: Ask, where: Context, context: Where, data: Path) -> None:
    first = ask(tabular.app, "query.initial", where)
    other = context(data, SCHEMA, CONFIG, partition=1)
    assert arrays_digest(plain(first["arrays"])) == arrays_digest(
        plain(ask(tabular.app, "query.initial", other)["arrays"])
    )
    reseeded = context(data, SCHEMA, CONFIG | {"seed": 8})
    assert arrays_digest(plain(first["arrays"])) != arrays_digest(
        plain(ask(tabular.app, "query.initial", reseeded)["arrays"])
    )
    assert first["app"]["statistics"] is True
    about = json.loads(first["app"]["model"])
    assert (about["app"], about["features"], about["label"]) == ("tabular", ["x", "y", "constant"], "late")


def test_statistics_are_of_the_training_records_alone(ask: Ask, where: Context, data: Path) -> None:
    reply = ask(tabular.app, "query.statistics", where)
    trained = train(ask, where, ask(tabular.app, "query.initial", where)["arrays"])
    evaluated = evaluate(ask, where, trained["arrays"])
    assert reply["statistics"]["count"] == trained["metrics"]["num-examples"]
    assert trained["metrics"]["num-examples"] + evaluated["num-examples"] == 400
    assert 20 <= evaluated["num-examples"] <= 60
    assert reply["schema"]["features"] == ["x", "y", "constant"]
    assert reply["statistics"]["sum"][2] == pytest.approx(3 * reply["statistics"]["count"])


def evaluate(ask: Ask, where: Context, arrays: ArrayRecord) -> Any:
    config = ConfigRecord({"server-round": 1})
    return ask(tabular.app, "evaluate", where, arrays=arrays, config=config, statistics=known(ask, where))["metrics"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("model", ["mlp", "logistic"])
def test_it_learns(ask: Ask, context: Where, data: Path, device: str, model: str) -> None:
    where = context(data, SCHEMA, CONFIG | {"device": device, "model": model})
    arrays = ask(tabular.app, "query.initial", where)["arrays"]
    losses = []
    for number in range(1, 9):
        reply = train(ask, where, arrays, number)
        arrays = reply["arrays"]
        losses.append(reply["metrics"]["train_loss"])
    metrics = evaluate(ask, where, arrays)
    assert losses[-1] < losses[0] / 2
    assert metrics["auc"] > 0.95
    assert set(metrics) == {"num-examples", "loss", "auc", "f1", "accuracy"}


def test_equal_messages_give_equal_bits_and_another_round_other_ones(ask: Ask, where: Context) -> None:
    arrays = ask(tabular.app, "query.initial", where)["arrays"]
    first, again, other = (arrays_digest(plain(train(ask, where, arrays, n)["arrays"])) for n in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("strategy", ["FedAvg", "FedProx", "FedAdam", "FedYogi"])
def test_a_resumed_run_equals_the_unbroken_one(ask: Ask, context: Where, data: Path, strategy: str) -> None:
    clients = [context(data, SCHEMA, CONFIG, partition=p) for p in range(2)]

    def rounds(run: Any, arrays: dict[str, Any], first: int, last: int) -> dict[str, Any]:
        for number in range(first, last + 1):
            updates = []
            for index, where in enumerate(clients):
                reply = train(ask, where, wired(arrays), number, **run.train_config())
                updates.append(Update(str(index), plain(reply["arrays"]), reply["metrics"]["num-examples"]))
            arrays = run.aggregate(arrays, updates)
        return arrays

    start = plain(ask(tabular.app, "query.initial", clients[0])["arrays"])
    spec = Aggregation(strategy=strategy)  # type: ignore[arg-type]
    unbroken = rounds(build_strategy(spec), start, 1, 4)
    killed = build_strategy(spec)
    half = rounds(killed, start, 1, 2)
    resumed = build_strategy(spec)
    resumed.load_state(killed.state())
    assert arrays_digest(rounds(resumed, half, 3, 4)) == arrays_digest(unbroken)


def test_names_shapes_dtypes_and_order_come_back(ask: Ask, where: Context) -> None:
    arrays = plain(ask(tabular.app, "query.initial", where)["arrays"])
    back = plain(train(ask, where, wired(arrays))["arrays"])
    assert [(n, a.shape, a.dtype) for n, a in back.items()] == [(n, a.shape, a.dtype) for n, a in arrays.items()]


def test_the_proximal_term_holds_the_model_back(ask: Ask, where: Context) -> None:
    start = plain(ask(tabular.app, "query.initial", where)["arrays"])
    moved = {}
    for mu in (0.0, 1.0, 10.0):
        now = plain(train(ask, where, wired(start), **{"proximal-mu": mu})["arrays"])
        moved[mu] = sum(float(np.square(now[n] - start[n]).sum()) for n in start)
    assert moved[10.0] < moved[1.0] < moved[0.0]


def test_nothing_is_kept_for_evaluation_with_fraction_zero(ask: Ask, context: Where, data: Path) -> None:
    where = context(data, SCHEMA, CONFIG | {"evaluation-fraction": "0"})
    reply = train(ask, where, ask(tabular.app, "query.initial", where)["arrays"])
    assert reply["metrics"]["num-examples"] == 400
    assert dict(evaluate(ask, where, reply["arrays"])) == {"num-examples": 0}


@pytest.mark.parametrize("model", ["mlp", "logistic"])
def test_the_model_file_alone_predicts_what_torch_does(
    ask: Ask, context: Where, data: Path, tmp_path: Path, model: str
) -> None:
    where = context(data, SCHEMA, CONFIG | {"model": model})
    initial = ask(tabular.app, "query.initial", where)
    arrays = train(ask, where, initial["arrays"])["arrays"]
    statistics = known(ask, where)
    metadata = {"hanse": str(initial["app"]["model"]), "statistics": json.dumps(dict(statistics))}
    write_model(tmp_path / "m.safetensors", plain(arrays), metadata)
    values = np.random.default_rng(1).normal([50, 0, 3], [30, 1, 0], size=(100, 3))
    module = tabular.build(3, tabular.TabularSettings.parse(CONFIG | {"model": model}))
    module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in plain(arrays).items()})
    mean, scale = np.array(statistics["mean"]), np.array(statistics["scale"])
    inputs = torch.from_numpy(np.clip((values - mean) / scale, -3, 3).astype(np.float32))
    with torch.no_grad():
        expected = torch.sigmoid(module(inputs)[:, 0].double()).numpy()
    np.testing.assert_allclose(predictor(*read_model(tmp_path / "m.safetensors")).scores(values), expected, rtol=1e-5)


def test_preflight_names_what_is_wrong(context: Where, data: Path) -> None:
    tabular.preflight(context(data, SCHEMA, CONFIG))
    with pytest.raises(DatasetError, match="did you mean late"):
        tabular.preflight(context(data, SCHEMA.model_copy(update={"label": "lates"}), CONFIG))
    with pytest.raises(DatasetError, match="no schema"):
        tabular.preflight(context(data, None, CONFIG))
    with pytest.raises(ConfigError, match="did you mean hidden-units"):
        tabular.preflight(context(data, SCHEMA, {"hidden-unit": 8}))


@pytest.mark.skipif(torch.version.cuda is not None, reason="torch has CUDA here")
def test_preflight_says_that_a_cpu_build_has_no_cuda(context: Where, data: Path) -> None:
    with pytest.raises(ConfigError, match="device is cuda, but the image's torch is a CPU build"):
        tabular.preflight(context(data, SCHEMA, CONFIG | {"device": "cuda"}))


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a CUDA device")
def test_cuda_where_there_is_none_is_said(ask: Ask, context: Where, data: Path) -> None:
    with pytest.raises(ConfigError, match="no CUDA device"):
        ask(tabular.app, "query.initial", context(data, SCHEMA, CONFIG | {"device": "cuda"}))


#: A process of its own, as the trainer's supervisor is: autograd must not have run before the fork.
SUPERVISOR = """
import os, sys, time
from pathlib import Path
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, Metadata, RecordDict
from hanse.runtime.aggregation import arrays_digest
from hanse.runtime.apps import tabular

data, schema = Path(sys.argv[1]), sys.argv[2]
node = {"partition-id": 0, "data-path": str(data), "dataset-schema": schema}
where = Context(1, 1, node, RecordDict(), {"hidden-units": "8", "seed": 7})
if sys.argv[3] == "warm":
    tabular.preflight(where)
    tabular.warm(where)
    data.rename(data.with_suffix(".gone"))

def child():
    metadata = Metadata(1, "m", 1, 2, "", "", time.time(), 3600.0, "query.initial")
    arrays = tabular.app(Message(RecordDict(), metadata=metadata), where).content["arrays"]
    metadata = Metadata(1, "m", 1, 2, "", "", time.time(), 3600.0, "train")
    content = RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": 1})})
    trained = tabular.app(Message(content, metadata=metadata), where).content["arrays"]
    print(arrays_digest({name: array.numpy() for name, array in trained.items()}), flush=True)
    late = [name for name in set(sys.modules) - imported if name.startswith("torch.")]
    assert len(late) < 10, late

imported = set(sys.modules)
for _ in range(2):
    if (pid := os.fork()) == 0:
        try:
            child()
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
"""


def test_forked_children_need_no_file_after_warm_and_give_the_same_bits(data: Path) -> None:
    digests = []
    for how in ("cold", "warm"):
        command = [sys.executable, "-c", SUPERVISOR, str(data), SCHEMA.model_dump_json(), how]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        digests += done.stdout.split()
        assert done.returncode == 0, done.stderr
    assert len(digests) == 4, digests
    assert len(set(digests)) == 1
