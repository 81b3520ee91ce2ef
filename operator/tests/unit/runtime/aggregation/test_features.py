"""Features by declared ranges: shares, pieces, and that a model file predicts with them."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.runtime.aggregation.features import Encoding
from hanse.runtime.aggregation.model import write_model
from hanse.runtime.aggregation.predict import load_predictor
from hanse.runtime.aggregation.statistics import Standardisation

RANGED = Encoding(((0.0, 100.0), (1.0, 2.0)), pieces=4)


def test_values_become_shares_of_their_range_within_its_ends() -> None:
    shares = RANGED.shares(np.array([[25, 1], [-5, 2], [1e9, 1.5]]))
    np.testing.assert_array_equal(shares, [[0.25, 0], [0, 1], [1, 0.5]])


def test_a_wide_range_is_cut_and_a_flag_stays_whole() -> None:
    assert RANGED.columns(2) == 5
    np.testing.assert_array_equal(
        RANGED.apply(np.array([[60, 2], [0, 1], [100, 1]]), None),
        np.array([[1, 1, 0.4, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 0]], np.float32),
    )


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.integers(1, 64))
def test_the_pieces_of_a_value_sum_up_to_its_share(value: float, pieces: int) -> None:
    encoding = Encoding(((-1000.0, 5000.0),), pieces)
    row = np.array([[value]])
    assert encoding.apply(row, None).sum() == pytest.approx(encoding.shares(row)[0, 0] * pieces, abs=1e-4)


def test_statistics_of_shares_standardise_shares() -> None:
    encoding = Encoding(((0.0, 10.0),), clip=1.0)
    known = Standardisation([0.5], [0.25])
    np.testing.assert_array_equal(encoding.apply(np.array([[5], [7.5], [99]]), known), [[0], [1], [1]])


def test_without_ranges_values_stay_as_they_are() -> None:
    assert Encoding().columns(3) == 3
    np.testing.assert_array_equal(Encoding().apply(np.array([[1, 2, 3]]), None), [[1, 2, 3]])


@pytest.mark.parametrize("encoding", [RANGED, Encoding(clip=2.0)])
def test_a_model_file_says_how(encoding: Encoding) -> None:
    assert Encoding.of(json.loads(json.dumps(encoding.about()))) == Encoding(
        encoding.ranges, encoding.pieces, encoding.clip
    )


def test_a_model_file_with_ranges_predicts_from_raw_values(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    arrays = {"layer0.weight": np.array([[1, 2, 3, 4, -5]], np.float32), "layer0.bias": np.array([0.5], np.float32)}
    about = {"app": "tabular", "features": ["amount", "sex"], "label": "late", **RANGED.about()}
    write_model(path, arrays, {"hanse": json.dumps(about)})
    scores = load_predictor(path).scores(np.array([[60, 2], [1e9, 1]]))
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-np.array([0.5 + 1 + 2 + 1.2 - 5, 10.5]))), rtol=1e-6)
