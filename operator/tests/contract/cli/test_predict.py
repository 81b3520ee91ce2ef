"""`hanse model predict` scores with the predictor's own program."""

import io
import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from rich.console import Console

from hanse.cli.errors import ModelError
from hanse.cli.modelcommands import predict
from hanse.runtime.aggregation.model import write_model

ABOUT = {"app": "tabular", "features": ["age", "limit"], "label": "default", "clip": 10.0}
STATISTICS = {"mean": [40.0, 0.0], "scale": [10.0, 1.0]}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))
    path = tmp_path / "m.safetensors"
    weights = {"layer0.weight": np.array([[1.0, -1.0]], np.float32), "layer0.bias": np.zeros(1, np.float32)}
    write_model(path, weights, {"hanse": json.dumps(ABOUT), "statistics": json.dumps(STATISTICS)})
    return path


def predicted(model: Path, option: str, value: str) -> str:
    console = Console(file=io.StringIO(), width=40)
    predict(model, (option, value), console)
    return cast(io.StringIO, console.file).getvalue()


def test_a_row(model: Path) -> None:
    # (50 - 40) / 10 - 0 = 1, and the sigmoid of 1 is 0.7311.
    assert predicted(model, "row", "50,0") == "probability of default: 0.7311\n"
    assert predicted(model, "row", "-50,0") == "probability of default: 0.0001\n"


def test_a_csv(model: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("id,limit,age\n1,0,50\n2,1,50\n")
    assert predicted(model, "csv", str(rows)).splitlines() == ["row,probability of default", "1,0.7311", "2,0.5000"]


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [("row", "1", "age, limit"), ("row", "x,1", "age"), ("csv", "none.csv", "none.csv"), ("npz", "x.npz", "tabular")],
)
def test_what_is_wrong_is_said_in_one_line(model: Path, option: str, value: str, says: str) -> None:
    with pytest.raises(ModelError, match=says) as error:
        predicted(model, option, value)
    assert "\n" not in error.value.message
    assert "hanse model show" in error.value.next_step
