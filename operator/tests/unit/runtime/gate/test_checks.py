"""What may leave the gate, and what may not."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hanse.api.replies import ReplyCode
from hanse.runtime.gate.checks import Refused, check_reply
from hanse.runtime.gate.content import ArrayView, Content, RecordKind, RecordView, outline

ARRAYS, METRICS, CONFIG = RecordKind.ARRAYS, RecordKind.METRICS, RecordKind.CONFIG


def saved(value: np.ndarray, *, pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, value, allow_pickle=pickle)
    return stream.getvalue()


def array(value: Any, **changes: Any) -> ArrayView:
    value = np.asarray(value)
    fields = {"dtype": str(value.dtype), "shape": value.shape, "stype": "numpy.ndarray", "data": saved(value)}
    return ArrayView(**(fields | changes))


def arrays(**values: Any) -> RecordView:
    views = {name: v if isinstance(v, ArrayView) else array(v) for name, v in values.items()}
    return RecordView(ARRAYS, arrays=views)


def metrics(**values: Any) -> RecordView:
    return RecordView(METRICS, values=values)


WEIGHTS = np.zeros((2, 3), np.float32)
RECEIVED: Content = outline({"arrays": arrays(w=WEIGHTS), "config": RecordView(CONFIG, values={"server-round": 1})})


def code(message_type: str, reply: Content, received: Content = RECEIVED) -> ReplyCode | None:
    try:
        check_reply(message_type, received, reply)
    except Refused as refused:
        return refused.code
    return None


@pytest.mark.parametrize("kind", ["train", "train.personal"])
def test_an_update_like_the_model_passes(kind: str) -> None:
    assert (
        code(kind, {"arrays": arrays(w=WEIGHTS + 1), "metrics": metrics(**{"num-examples": 3, "l": [0.5, 1.0]})})
        is None
    )


def test_a_record_of_another_name_passes_when_it_looks_like_a_received_one() -> None:
    assert code("train", {"arrays": arrays(w=WEIGHTS), "variates": arrays(w=WEIGHTS)}) is None


@pytest.mark.parametrize("value", [np.zeros((0, 3), np.float32), np.float64(1.5), np.zeros(2, bool)])
def test_empty_arrays_single_numbers_and_booleans_pass(value: np.ndarray) -> None:
    assert code("query", {"arrays": arrays(w=value)}) is None


def test_fortran_order_passes() -> None:
    assert code("train", {"arrays": arrays(w=np.asfortranarray(WEIGHTS))}) is None


@pytest.mark.parametrize(
    ("message_type", "reply", "expected"),
    [
        ("train", {"arrays": arrays(w=WEIGHTS * np.nan)}, ReplyCode.NON_FINITE_UPDATE),
        ("train", {"arrays": arrays(w=WEIGHTS + np.inf)}, ReplyCode.NON_FINITE_UPDATE),
        ("query", {"arrays": arrays(w=WEIGHTS * np.nan)}, ReplyCode.NON_FINITE_UPDATE),
        ("train", {"m": metrics(loss=float("nan"))}, ReplyCode.NON_FINITE_METRIC),
        ("evaluate", {"m": metrics(loss=float("inf"))}, ReplyCode.NON_FINITE_METRIC),
        ("evaluate", {"m": metrics(loss=[0.0, float("-inf")])}, ReplyCode.NON_FINITE_METRIC),
        ("query", {"c": RecordView(CONFIG, values={"x": 1})}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        ("query.initial", {"other": RecordView(CONFIG, values={"model": "m"})}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        ("query.initial", {"app": RecordView(CONFIG, values={"row": "42"})}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        ("query.initial", {"app": RecordView(CONFIG, values={"model": b"raw"})}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        ("query.statistics", {"schema": RecordView(CONFIG, values={"features": [1]})}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        (
            "query.statistics",
            {"schema": RecordView(CONFIG, values={"label": "x" * 129})},
            ReplyCode.NOT_ALLOWED_IN_REPLY,
        ),
        ("train", {"m": metrics(loss=True)}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        ("train", {"m": metrics(loss=[0.0] * 8193)}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        ("train", {"m": metrics(**{"row 42: yes": 1.0})}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        ("train", {"m": metrics(**{"x" * 64: 1.0})}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        ("train", {"m": metrics(**{f"m{i}": 1.0 for i in range(65)})}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        ("train", {"arrays": arrays(w=WEIGHTS[:1])}, ReplyCode.UPDATE_MISMATCH),
        ("train", {"arrays": arrays(w=WEIGHTS.astype(np.float64))}, ReplyCode.UPDATE_MISMATCH),
        ("train", {"arrays": arrays(v=WEIGHTS)}, ReplyCode.UPDATE_MISMATCH),
        ("train", {"arrays": arrays(w=WEIGHTS, v=WEIGHTS)}, ReplyCode.UPDATE_MISMATCH),
        ("train", {"arrays": arrays()}, ReplyCode.UPDATE_MISMATCH),
        ("train", {"c": RecordView(CONFIG, values={"row": "42"})}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        ("evaluate", {"arrays": arrays(w=WEIGHTS)}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        ("evaluate", {"c": RecordView(CONFIG, values={"row": "42"})}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        ("system", {"m": metrics(loss=0.5)}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        ("", {"m": metrics(loss=0.5)}, ReplyCode.NOT_ALLOWED_IN_REPLY),
    ],
)
def test_refusals(message_type: str, reply: Content, expected: ReplyCode) -> None:
    assert code(message_type, reply) == expected


@pytest.mark.parametrize(
    "spoilt",
    [
        array(WEIGHTS, data=b""),
        array(WEIGHTS, data=b"\x93NUMPY"),
        array(WEIGHTS, data=saved(WEIGHTS)[:-1]),
        array(WEIGHTS, data=saved(WEIGHTS) + b"smuggled"),
        array(WEIGHTS, data=saved(WEIGHTS.astype(np.float64))),
        array(WEIGHTS, data=saved(WEIGHTS.reshape(3, 2))),
        array(WEIGHTS, stype="tenseal.ckks"),
        array(WEIGHTS, data=saved(np.array([{"row": 42}], dtype=object), pickle=True)),
    ],
)
@pytest.mark.parametrize("kind", ["train", "query"])
def test_bytes_that_are_not_what_they_announce_are_refused(spoilt: ArrayView, kind: str) -> None:
    assert code(kind, {"arrays": arrays(w=spoilt)}) == ReplyCode.UPDATE_MISMATCH


@pytest.mark.parametrize("value", [np.array(["text"]), np.array([np.datetime64("2026-01-01")])])
def test_arrays_hold_numbers_only(value: np.ndarray) -> None:
    assert code("query", {"arrays": arrays(w=value)}) == ReplyCode.UPDATE_MISMATCH


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        ("query", {"a": arrays(x=[1, 2]), "m": metrics(n=1)}),
        (
            "query.initial",
            {
                "arrays": arrays(w=WEIGHTS),
                "app": RecordView(CONFIG, values={"statistics": True, "model": '{"features": ["age"]}'}),
            },
        ),
        (
            "query.statistics",
            {
                "statistics": metrics(**{"count": 2, "sum": [1.0], "sum-squares": [1.0]}),
                "schema": RecordView(CONFIG, values={"features": ["age"], "label": "default"}),
            },
        ),
    ],
)
def test_the_platforms_queries_pass(kind: str, reply: Content) -> None:
    assert code(kind, reply) is None


def test_a_non_finite_number_is_found_in_either_order() -> None:
    value = np.asfortranarray(WEIGHTS.copy())
    value[1, 0] = np.inf
    assert code("train", {"arrays": arrays(w=value)}) == ReplyCode.NON_FINITE_UPDATE


def test_a_refusal_names_no_value() -> None:
    with pytest.raises(Refused) as refused:
        check_reply("train", RECEIVED, {"m": metrics(loss=float("inf"))})
    assert "inf" not in str(refused.value).replace("finite", "")


@given(
    value=hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.complex64]), hnp.array_shapes(min_side=1, max_side=4)
    )
)
def test_an_update_passes_exactly_when_all_of_it_is_finite(value: np.ndarray) -> None:
    received = outline({"arrays": arrays(w=np.zeros_like(value))})
    expected = None if np.isfinite(value).all() else ReplyCode.NON_FINITE_UPDATE
    assert code("train", {"arrays": arrays(w=value)}, received) == expected


@given(data=st.binary(max_size=200))
def test_no_bytes_make_the_check_fail_otherwise_than_by_refusing(data: bytes) -> None:
    assert code("query", {"arrays": arrays(w=array(WEIGHTS, data=data))}) == ReplyCode.UPDATE_MISMATCH


@given(position=st.integers(0, 200), value=st.integers(0, 255))
def test_a_flipped_byte_is_refused_or_still_a_finite_array_of_the_same_shape(position: int, value: int) -> None:
    data = bytearray(saved(WEIGHTS))
    data[position % len(data)] = value
    outcome = code("train", {"arrays": arrays(w=array(WEIGHTS, data=bytes(data)))})
    assert outcome in (None, ReplyCode.NON_FINITE_UPDATE, ReplyCode.UPDATE_MISMATCH)
