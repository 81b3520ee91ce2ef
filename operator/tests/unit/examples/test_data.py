"""The examples' packaged data are what their READMEs say: sizes, disjoint, skewed, held out by the hash of the id."""

import csv
import gzip
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.parent.name.replace("-", "_") + path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def credit() -> dict[str, list[dict[str, str]]]:
    found = {}
    for name in ("bank-a", "bank-b", "bank-c", "held-out"):
        with gzip.open(EXAMPLES / "credit" / "data" / f"{name}.csv.gz", "rt", newline="") as file:
            found[name] = list(csv.DictReader(file))
    return found


def test_credit_sizes_and_skew(credit: dict[str, list[dict[str, str]]]) -> None:
    assert {name: len(rows) for name, rows in credit.items()} == {
        "bank-a": 12_000,
        "bank-b": 7_200,
        "bank-c": 4_800,
        "held-out": 6_000,
    }
    ages = {name: np.mean([float(row["AGE"]) for row in rows]) for name, rows in credit.items()}
    assert ages["bank-a"] < 30 < 35 < ages["bank-b"] < 40 < 45 < ages["bank-c"]


def test_credit_has_every_record_once_and_splits_again_the_same(credit: dict[str, list[dict[str, str]]]) -> None:
    rows = sorted((row for part in credit.values() for row in part), key=lambda row: int(row["ID"]))
    assert [row["ID"] for row in rows] == [str(number) for number in range(1, 30_001)]
    header = list(rows[0])
    again = module(EXAMPLES / "credit" / "split.py").split(header, [list(row.values()) for row in rows])
    assert {name: [list(row.values()) for row in part] for name, part in credit.items()} == again


def test_images_sizes_and_skew() -> None:
    parts: dict[str, Any] = {
        name: np.load(EXAMPLES / "images" / "data" / f"{name}.npz") for name in ("hospital-a", "hospital-b", "held-out")
    }
    assert {name: len(part["labels"]) for name, part in parts.items()} == {
        "hospital-a": 2000,
        "hospital-b": 2000,
        "held-out": 1000,
    }
    assert np.mean(parts["hospital-a"]["labels"] < 5) == 0.8
    assert np.mean(parts["hospital-b"]["labels"] < 5) == 0.2
    ids = np.concatenate([part["ids"] for part in parts.values()])
    assert len(set(ids.tolist())) == 5000
    by_id = dict(zip(ids.tolist(), np.concatenate([p["labels"] for p in parts.values()]).tolist(), strict=True))
    labels = np.array([by_id[number] for number in range(5000)])
    again = module(EXAMPLES / "images" / "split.py").split(labels)
    assert {name: part["ids"].tolist() for name, part in parts.items()} == {n: i.tolist() for n, i in again.items()}


def test_clinics_are_disjoint_and_split_again_the_same() -> None:
    split = module(EXAMPLES / "bring-your-own-app" / "split.py")
    seen: set[str] = set()
    for name in ("clinic-a", "clinic-b", "held-out"):
        with (EXAMPLES / "bring-your-own-app" / "data" / f"{name}.csv").open(newline="") as file:
            ids = [row["id"] for row in csv.DictReader(file)]
        assert {split.part(int(record)) for record in ids} == {name}
        assert not seen & set(ids)
        seen |= set(ids)
    assert len(seen) == 569


def test_packaged_data_stays_small() -> None:
    assert sum(path.stat().st_size for path in EXAMPLES.rglob("*") if path.is_file()) < 3_000_000
