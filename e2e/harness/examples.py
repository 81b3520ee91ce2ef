"""The examples as a user runs them: their own manifests, their own data, on a cluster; used by demo and tests."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from e2e.harness import install
from e2e.harness.install import ROOT
from e2e.harness.kube import Kube, Object
from hanse.runtime.aggregation.predict import load_predictor
from hanse.runtime.apps.scores import accuracy, binary_metrics, macro_f1

EXAMPLES = ROOT / "examples"


@dataclass(frozen=True)
class Example:
    """One directory of examples/."""

    name: str
    claim: str
    file: str
    data: dict[str, Path]
    held_out: Path

    @property
    def owners(self) -> list[str]:
        """The owners' namespaces."""
        return list(self.data)

    def documents(self, file: str) -> list[Object]:
        """The objects in one of the example's manifests."""
        return [d for d in yaml.safe_load_all((EXAMPLES / self.name / file).read_text()) if d]

    @property
    def held_out_records(self) -> int:
        """How many records nobody trains on (CSV examples)."""
        with gzip.open(self.held_out, "rt") as lines:
            return sum(1 for _ in lines) - 1


def credit() -> Example:
    """Three banks, one table."""
    data = EXAMPLES / "credit" / "data"
    owners = {name: data / f"{name}.csv.gz" for name in ("bank-a", "bank-b", "bank-c")}
    return Example("credit", "loans", "loans.csv.gz", owners, data / "held-out.csv.gz")


def credit_private() -> Example:
    """The same banks and table, with every borrower hidden."""
    return replace(credit(), name="credit-private")


def images() -> Example:
    """Two hospitals, one image classifier."""
    data = EXAMPLES / "images" / "data"
    owners = {name: data / f"{name}.npz" for name in ("hospital-a", "hospital-b")}
    return Example("images", "scans", "scans.npz", owners, data / "held-out.npz")


def clinics() -> Example:
    """Two clinics, an ordinary Flower app of their own."""
    data = EXAMPLES / "bring-your-own-app" / "data"
    owners = {name: data / f"{name}.csv" for name in ("clinic-a", "clinic-b")}
    return Example("bring-your-own-app", "tumours", "tumours.csv", owners, data / "held-out.csv")


def submit(kube: Kube, example: Example, trainer: str) -> None:
    """Owners' side, data, then the job, with the image that was built. Namespaces must be there."""
    kube.apply(*(d for d in example.documents("participants.yaml") if d["kind"] != "Namespace"))
    for owner, path in example.data.items():
        install.load_data(kube, owner, example.claim, {example.file: path}, trainer)
    for document in example.documents("job.yaml"):
        if document["kind"] == "FederatedJob":
            document["spec"]["app"]["image"] = trainer
            kube.apply(document)


def score(model: Path, example: Example) -> dict[str, float]:
    """The fetched model's metrics on the held-out records of a table: auc, f1, accuracy."""
    predictor = load_predictor(model)
    with gzip.open(example.held_out, "rt") as lines:
        rows: list[Mapping[str, Any]] = list(csv.DictReader(lines))
    labels = np.array([float(row[predictor.label]) for row in rows])
    return binary_metrics(labels, predictor.scores(predictor.rows(rows)))


def score_images(model: Path, example: Example) -> dict[str, float]:
    """The fetched model's metrics on the held-out images: accuracy, macro f1."""
    with np.load(example.held_out) as file:
        images, labels = file["images"], file["labels"]
    predicted = load_predictor(model).classes(images).argmax(axis=1)
    return {"accuracy": accuracy(labels, predicted), "f1": macro_f1(labels, predicted)}


def compare() -> dict[str, float]:
    """Local-only and centralised training of the credit example, run now (one seed), for comparison.

    Inside the trainer image's file system, so that the host needs no torch.
    """
    command = [
        str(ROOT / "scripts" / "lib" / "in-trainer.sh"),
        *("python3", "-m", "e2e.benchmarks.accuracy", "--seeds", "1", "--example", "credit"),
        *("--mode", "centralised", "--mode", "local"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])["metrics"]
    return found


def predict_one(model: Path, example: Example) -> str:
    """`hanse model predict` for the first held-out record, as a user types it."""
    one = model.with_name("one-person.csv")
    with gzip.open(example.held_out, "rt") as lines:
        one.write_text("".join(next(lines) for _ in range(2)))
    command = [str(Path(sys.executable).with_name("hanse")), "model", "predict", str(model), "--csv", str(one)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
