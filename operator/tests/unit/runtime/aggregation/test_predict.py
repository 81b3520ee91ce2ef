"""Predictions from a file alone: by hand, and the command line that `hanse model predict` calls."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from hanse.runtime.aggregation.convolution import convolve, group_norm, max_pool
from hanse.runtime.aggregation.model import ModelFileError, write_model
from hanse.runtime.aggregation.predict import load_predictor, main

ABOUT = {"app": "tabular", "model": "logistic", "features": ["age", "limit"], "label": "default", "clip": 2.0}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    arrays = {"layer0.weight": np.array([[1.0, -2.0]], np.float32), "layer0.bias": np.array([0.5], np.float32)}
    statistics = {"mean": [40.0, 1000.0], "scale": [10.0, 100.0]}
    write_model(path, arrays, {"hanse": json.dumps(ABOUT), "statistics": json.dumps(statistics)})
    return path


def test_standardises_clips_and_squashes(model: Path) -> None:
    predictor = load_predictor(model)
    assert (predictor.features, predictor.label) == (["age", "limit"], "default")
    scores = predictor.scores(np.array([[50, 1050], [90, 1000], [40, -1e9]]))
    logits = np.array([0.5 + 1 - 1, 0.5 + 2, 0.5 + 4])
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits)), rtol=1e-7)


def test_the_command_line_takes_a_row_or_a_csv(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(model), "--row", "50,1050"]) == 0
    assert capsys.readouterr().out == "row,probability of default\n1,0.6225\n"
    csv = model.with_name("rows.csv.gz")
    csv.write_bytes(gzip.compress(b"id,limit,age\n7,1050,50\n8,1000,90\n"))
    assert main([str(model), "--csv", str(csv)]) == 0
    assert capsys.readouterr().out == "row,probability of default\n1,0.6225\n2,0.9241\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--row", "1"], "--row has 1 values, the model takes 2: age, limit"),
        (["--row", "1,x"], "row 1: column limit is not a number"),
        (["--csv", "{csv}"], "row 1 has no column limit"),
        (["--csv", "missing.csv"], "No such file"),
        (["--npz", "x.npz"], "takes --row or --csv"),
    ],
)
def test_an_error_is_one_line(
    model: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    csv = model.with_name("rows.csv")
    csv.write_text("age\n50\n")
    assert main([str(model), *(a.format(csv=csv) for a in arguments)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_model_of_another_app_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "a", {"w": np.zeros(1)}, {})
    write_model(tmp_path / "b", {"w": np.zeros(1)}, {"hanse": '{"app": "mine"}'})
    with pytest.raises(ModelFileError, match="not of a built-in app"):
        load_predictor(tmp_path / "a")
    with pytest.raises(ModelFileError, match="the app mine"):
        load_predictor(tmp_path / "b")


def test_convolution_normalisation_and_pooling_by_brute_force() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(2, 4, 5, 6)).astype(np.float32)
    weight = generator.normal(size=(8, 4, 3, 3)).astype(np.float32)
    bias = generator.normal(size=8).astype(np.float32)
    padded = np.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = np.empty((2, 8, 5, 6))
    for n, o, y, x in np.ndindex(*expected.shape):
        expected[n, o, y, x] = (padded[n, :, y : y + 3, x : x + 3] * weight[o]).sum() + bias[o]
    found = convolve(values, weight, bias)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    normed = group_norm(found, 2, np.ones(8, np.float32), np.zeros(8, np.float32)).reshape(2, 2, -1)
    np.testing.assert_allclose(normed.mean(axis=2), 0, atol=1e-5)
    np.testing.assert_allclose(normed.std(axis=2), 1, atol=1e-3)
    assert max_pool(found).shape == (2, 8, 2, 3)
    assert max_pool(found)[1, 3, 1, 2] == found[1, 3, 2:4, 4:6].max()
