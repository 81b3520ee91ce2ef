"""A model as one vector."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hanse.runtime.codec import Layout, LayoutError, is_batch_norm_buffer

MODEL: dict[str, NDArray[Any]] = {
    "net.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "net.1.weight": np.full(3, 7, np.float32),
    "net.1.running_mean": np.ones(3, np.float32),
    "net.1.running_var": np.ones(3, np.float32),
    "net.1.num_batches_tracked": np.asarray(4, np.int64),
    "head.bias": np.asarray(0.5, np.float64),
    "half": np.ones(2, np.float16),
    "counts": np.ones(3, np.int32),
    "empty": np.ones((0, 3), np.float32),
}


def test_shared_are_the_floating_arrays_in_the_order_of_their_names() -> None:
    layout = Layout.of(MODEL)
    assert layout.names == ("half", "head.bias", "net.0.weight", "net.1.weight")
    assert layout.size == 2 + 1 + 6 + 3
    assert layout == Layout.of(dict(reversed(MODEL.items())))


def test_batch_norm_buffers_stay_local() -> None:
    assert [name for name in MODEL if is_batch_norm_buffer(name)] == [
        "net.1.running_mean",
        "net.1.running_var",
        "net.1.num_batches_tracked",
    ]
    assert not is_batch_norm_buffer("my_running_mean.weight")


def test_personal_layers_stay_local() -> None:
    assert Layout.of(MODEL, ["head.*", "half"]).names == ("net.0.weight", "net.1.weight")


def test_a_vector_and_back() -> None:
    layout = Layout.of(MODEL)
    vector = layout.flatten(MODEL)
    assert vector.dtype == np.float64
    assert vector.tolist() == [1, 1, 0.5, 0, 1, 2, 3, 4, 5, 7, 7, 7]
    back = layout.unflatten(vector)
    assert back.keys() == set(layout.names)
    for name, array in back.items():
        assert array.dtype == np.float64
        assert np.array_equal(array, MODEL[name])
        assert array.shape == MODEL[name].shape


def test_arrays_that_are_not_shared_are_ignored() -> None:
    layout = Layout.of(MODEL)
    assert layout.flatten({**MODEL, "counts": np.full(99, 5), "more": np.ones(3)}).size == layout.size


@pytest.mark.parametrize(
    "change",
    [
        {"half": np.ones(3, np.float16)},
        {"half": np.ones((2, 1), np.float16)},
        {"half": np.ones(2, np.int64)},
        {"half": np.array(["a", "b"])},
        {"half": np.ones(2, np.complex128)},
    ],
    ids=["length", "shape", "integers", "text", "complex"],
)
def test_arrays_of_another_kind_are_refused(change: dict[str, np.ndarray]) -> None:
    with pytest.raises(LayoutError):
        Layout.of(MODEL).flatten({**MODEL, **change})


def test_a_missing_array_is_refused() -> None:
    with pytest.raises(LayoutError):
        Layout.of(MODEL).flatten({name: array for name, array in MODEL.items() if name != "half"})


def test_a_vector_of_another_length_is_refused() -> None:
    with pytest.raises(LayoutError):
        Layout.of(MODEL).unflatten(np.zeros(11))


@pytest.mark.parametrize("model", [{}, {"counts": np.ones(2, np.int64)}, {"bn.running_mean": np.ones(2)}])
def test_a_model_that_shares_nothing_is_refused(model: dict[str, np.ndarray]) -> None:
    with pytest.raises(LayoutError):
        Layout.of(model)


def test_precision_is_the_coarsest_dtypes() -> None:
    assert Layout.of(MODEL).precision == np.finfo(np.float16).eps
    assert Layout.of(MODEL, ["half"]).precision == np.finfo(np.float32).eps
