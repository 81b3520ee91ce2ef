"""Model files: readable by the safetensors library, equal models give equal bytes, digests see every change."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load as library_load

from hanse.runtime.aggregation import arrays_digest
from hanse.runtime.aggregation.files import safetensors_bytes
from hanse.runtime.aggregation.model import ModelFileError, read_model, write_model

DTYPES = st.sampled_from(["?", "u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">f4", ">i8"])
ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=20).filter(lambda name: name != "__metadata__"),
    DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))),
    max_size=5,
)


@settings(deadline=None)
@given(arrays=ARRAYS)
def test_the_library_reads_what_is_written(arrays: dict[str, np.ndarray]) -> None:
    loaded = library_load(safetensors_bytes(arrays, {"a": "b"}))
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].shape == array.shape
        np.testing.assert_array_equal(loaded[name], array)


def test_non_contiguous_arrays_keep_their_values() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4).T[::2]
    np.testing.assert_array_equal(library_load(safetensors_bytes({"w": array}, {}))["w"], array)


def test_round_trip_with_path_digest_and_size(tmp_path: Path) -> None:
    arrays = {"b": np.ones(3, np.float32), "a": np.zeros((2, 2))}
    written = write_model(tmp_path / "credit" / "model.safetensors", arrays, {"features": '["é"]'}, volume=tmp_path)
    content = (tmp_path / written.path).read_bytes()
    assert written.path == "credit/model.safetensors"
    assert written.digest == "sha256:" + hashlib.sha256(content).hexdigest()
    assert written.bytes == len(content)
    loaded, metadata = read_model(tmp_path / written.path)
    assert arrays_digest(loaded) == arrays_digest(arrays)
    assert metadata == {"features": '["é"]'}


def test_equal_models_are_equal_files_whatever_the_order(tmp_path: Path) -> None:
    a, b = np.ones(3, np.float32), np.zeros(2)
    one = write_model(tmp_path / "one", {"a": a, "b": b}, {"x": "1", "y": "2"})
    two = write_model(tmp_path / "two", {"b": b, "a": a}, {"y": "2", "x": "1"})
    assert one.digest == two.digest


def test_not_a_model_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"nothing of a model")
    with pytest.raises(ModelFileError, match="m is not a readable model"):
        read_model(tmp_path / "m")
    with pytest.raises(ModelFileError, match="read"):
        read_model(tmp_path / "missing")


def test_the_digest_sees_name_dtype_shape_and_value() -> None:
    base = {"w": np.zeros(4, np.float32)}
    others = [
        {"v": np.zeros(4, np.float32)},
        {"w": np.zeros(4, np.int32)},
        {"w": np.zeros((2, 2), np.float32)},
        {"w": np.asarray([0, 0, 0, 1e-45], np.float32)},
        {"w": np.zeros(4, np.float32), "v": np.zeros(0)},
    ]
    digests = {arrays_digest(arrays) for arrays in [base, *others]}
    assert len(digests) == 6
    assert arrays_digest({"w": np.zeros(4, ">f4")}) == arrays_digest(base)
