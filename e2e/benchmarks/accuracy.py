"""How good the examples' models are: federated, each owner alone, and centralised, on the held-out sets.

usage: python -m e2e.benchmarks.accuracy [--seeds N] [--example credit|images] [--mode federated|centralised|local]

`scripts/bench accuracy` and the demo call it. In this process, with the code that the pods run: the ClientApps'
functions, the aggregation package, the examples' manifests (only evaluation-fraction is 0 and the seed is set) and, on
the held-out set, the predictor that needs only the model file. Centralised is the same app with all owners' records in
one dataset for as many rounds. Where torch is missing it goes on inside the trainer image's root file system.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from hanse.api.job import FederatedJobSpec
from hanse.api.participant import DatasetSchema
from hanse.runtime.aggregation import Arrays, Update, build_strategy
from hanse.runtime.aggregation.model import read_model, write_model
from hanse.runtime.aggregation.predict import Predictor, predictor
from hanse.runtime.aggregation.statistics import Standardisation, Statistics, combine
from hanse.runtime.apps.scores import accuracy, auc, f1, macro_f1

if TYPE_CHECKING:
    from flwr.app import Context
    from flwr.clientapp import ClientApp

ROOT = Path(__file__).resolve().parents[2]
MODES = ("federated", "centralised", "local")


@dataclass(frozen=True)
class Example:
    """One of the examples: what its manifests say and where its files are."""

    name: str
    spec: FederatedJobSpec
    schema: DatasetSchema
    data: dict[str, Path]
    held_out: Path


def load_example(name: str) -> Example:
    """Read the manifests and find the data of examples/NAME."""
    folder = ROOT / "examples" / name
    files = [folder / "job.yaml", folder / "participants.yaml"]
    documents = [document for file in files for document in yaml.safe_load_all(file.read_text())]
    spec = next(d["spec"] for d in documents if d["kind"] == "FederatedJob")
    owner = next(d["spec"] for d in documents if d["kind"] == "Participant")
    parsed = FederatedJobSpec.model_validate(spec)
    suffix = ".csv.gz" if name == "credit" else ".npz"
    return Example(
        name,
        parsed,
        DatasetSchema.model_validate(owner["datasets"][0]["schema"]),
        {p.name: folder / "data" / f"{p.name}{suffix}" for p in parsed.participants},
        folder / "data" / f"held-out{suffix}",
    )


class Client:
    """One participant: calls the ClientApp with a message and the participant's context, as the trainer does."""

    def __init__(self, app: "ClientApp", name: str, node: dict[str, Any], config: dict[str, Any]) -> None:
        self.app, self.name, self._node, self._config = app, name, node, config

    def ask(self, kind: str, **records: Any) -> Any:
        """The content of the ClientApp's reply."""
        from flwr.app import Message, Metadata, RecordDict

        metadata = Metadata(1, "message", 1, 2, "", "", time.time(), 3600.0, kind)
        message = Message(RecordDict(records), metadata=metadata)  # type: ignore[call-overload]
        answer: Message = self.app(message, self._context())
        return answer.content

    def _context(self) -> "Context":
        from flwr.app import Context, RecordDict

        return Context(run_id=1, node_id=2, node_config=self._node, state=RecordDict(), run_config=self._config)


def train(clients: list[Client], spec: FederatedJobSpec) -> tuple[Arrays, dict[str, str]]:
    """All rounds of a job, as the aggregator does them; arrays and metadata of the model file."""
    from flwr.app import Array, ArrayRecord, ConfigRecord

    first = clients[0].ask("query.initial", config=ConfigRecord({"server-round": 0}))
    arrays: Arrays = {name: array.numpy() for name, array in first["arrays"].items()}
    records: dict[str, Any] = {}
    metadata = {"hanse": str(first["app"]["model"])}
    if first["app"]["statistics"]:
        known = _standardisation(clients)
        records["statistics"] = ConfigRecord({"mean": known.mean, "scale": known.scale})
        metadata["statistics"] = json.dumps({"mean": known.mean, "scale": known.scale})
    strategy = build_strategy(spec.aggregation)
    for number in range(1, spec.rounds + 1):
        told = ConfigRecord({"server-round": number, **strategy.train_config()})
        updates = []
        for client in clients:
            sent = ArrayRecord({name: Array(array) for name, array in arrays.items()})
            reply = client.ask("train", arrays=sent, config=told, **records)
            trained = {name: array.numpy() for name, array in reply["arrays"].items()}
            updates.append(Update(client.name, trained, int(reply["metrics"]["num-examples"])))
        arrays = strategy.aggregate(arrays, updates)
    return arrays, metadata


def _standardisation(clients: list[Client]) -> Standardisation:
    from flwr.app import ConfigRecord

    told = []
    for client in clients:
        reply = client.ask("query.statistics", config=ConfigRecord({"server-round": 0}))
        sums, schema = reply["statistics"], reply["schema"]
        told.append(
            Statistics(
                client.name,
                list(schema["features"]),
                schema["label"],
                int(sums["count"]),
                list(sums["sum"]),
                list(sums["sum-squares"]),
            )
        )
    return combine(told)


def score(example: Example, model: Predictor) -> dict[str, float]:
    """Metrics on the held-out set."""
    if model.app == "tabular":
        from hanse.runtime.apps.table import read_table

        table = read_table(example.held_out, example.schema)
        probabilities = model.scores(table.values)
        area = auc(table.labels, probabilities)
        return {"auc": area if area is not None else 0.5, "f1": f1(table.labels, probabilities >= 0.5)}
    with np.load(example.held_out) as file:
        labels: NDArray[Any] = file["labels"]
        predicted = model.classes(file["images"]).argmax(axis=1)
    return {"accuracy": accuracy(labels, predicted), "f1": macro_f1(labels, predicted)}


def groups(example: Example, mode: str, scratch: Path) -> Iterator[list[tuple[str, Path]]]:
    """Who trains together: all, each alone, or one that has everybody's records."""
    if mode == "federated":
        yield list(example.data.items())
    elif mode == "local":
        yield from ([item] for item in example.data.items())
    else:
        yield [("all", _pooled(example, scratch))]


def _pooled(example: Example, scratch: Path) -> Path:
    if example.name == "credit":
        folder = scratch / "pooled"
        folder.mkdir(exist_ok=True)
        for name, path in example.data.items():
            (folder / f"{name}.csv.gz").write_bytes(path.read_bytes())
        return folder
    parts = [dict(np.load(path)) for path in example.data.values()]
    pooled = scratch / "pooled.npz"
    arrays: dict[str, Any] = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    np.savez(pooled, **arrays)
    return pooled


def node(example: Example, item: tuple[str, Path], place: int) -> dict[str, Any]:
    """Node config of one participant."""
    return {
        "partition-id": place,
        "num-partitions": len(example.data),
        "data-path": str(item[1]),
        "dataset-schema": example.schema.model_dump_json(),
    }


def run(example: Example, mode: str, seed: int) -> dict[str, float]:
    """Train in one mode and score the model file; for `local` the mean over the owners."""
    from hanse.runtime.apps import tabular, vision

    app = tabular.app if example.name == "credit" else vision.app
    config: dict[str, Any] = {**example.spec.app.config, "evaluation-fraction": 0.0, "seed": seed}
    scores = []
    with tempfile.TemporaryDirectory() as scratch:
        for group in groups(example, mode, Path(scratch)):
            clients = [Client(app, item[0], node(example, item, place), config) for place, item in enumerate(group)]
            file = Path(scratch) / "model.safetensors"
            write_model(file, *train(clients, example.spec))
            scores.append(score(example, predictor(*read_model(file))))
    return {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}


def main() -> int:
    """The command line; the last line is one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench accuracy")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--example", "--only", choices=["credit", "images"], action="append")
    parser.add_argument("--mode", choices=MODES, action="append")
    options = parser.parse_args()
    metrics: dict[str, float] = {}
    for name in options.example or ["credit", "images"]:
        example = load_example(name)
        prefix = "" if name == "credit" else f"{name}_"
        for mode in options.mode or MODES:
            runs = [run(example, mode, seed) for seed in range(options.seeds)]
            for key in runs[0]:
                values = [r[key] for r in runs]
                metrics[f"{prefix}{mode}_{key}"] = round(float(np.mean(values)), 4)
                spread = ", ".join(f"{value:.4f}" for value in values)
                print(f"{name:8} {mode:12} {key:9} {np.mean(values):.4f}   ({spread})", flush=True)
    metrics |= _differences(metrics)
    print(json.dumps({"name": "accuracy", "metrics": metrics}))
    return 0


def _differences(metrics: dict[str, float]) -> dict[str, float]:
    pairs = {"gap": "auc", "images_gap": "accuracy"}
    found: dict[str, float] = {}
    for name, key in pairs.items():
        prefix = name.removesuffix("gap")
        federated, centralised = metrics.get(f"{prefix}federated_{key}"), metrics.get(f"{prefix}centralised_{key}")
        if federated is not None and centralised is not None:
            found[name] = round(centralised - federated, 4)
    if "images_federated_accuracy" in metrics:
        found["images_accuracy"] = metrics["images_federated_accuracy"]
    return found


if __name__ == "__main__":
    if importlib.util.find_spec("torch") is None:
        inside = str(ROOT / "scripts" / "lib" / "in-trainer.sh")
        os.execv(inside, [inside, "python3", "-m", "e2e.benchmarks.accuracy", *sys.argv[1:]])
    sys.exit(main())
