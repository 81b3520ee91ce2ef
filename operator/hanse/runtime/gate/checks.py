"""What may leave: the one place that decides on a reply. Pure; called by hanse.runtime.gate.exchange for every reply.

It fails closed: what is not known to be allowed is refused, and every refusal is a code without a word of the app's.

| message  | records allowed in the reply | arrays                                          | numbers |
|----------|------------------------------|-------------------------------------------------|---------|
| train    | arrays, metrics              | finite; names, shapes, dtypes of a received one | finite  |
| evaluate | metrics                      | none                                            | finite  |
| query    | arrays, metrics, config      | finite                                          | finite  |
"""

import io
import math
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hanse.api.replies import ReplyCode
from hanse.runtime.gate.content import ArrayView, Content, RecordKind, RecordView

ALLOWED: Final[dict[str, frozenset[RecordKind]]] = {
    "train": frozenset({RecordKind.ARRAYS, RecordKind.METRICS}),
    "evaluate": frozenset({RecordKind.METRICS}),
    "query": frozenset(RecordKind),
}
#: Flower's stype of an array that numpy can read; anything else cannot be looked into, so it stays here.
NUMPY_STYPE: Final = "numpy.ndarray"
#: Booleans, integers, floats, complex numbers. Objects, strings, dates and structures are refused.
NUMBER_KINDS: Final = frozenset("biufc")
#: The formats that numpy.save writes for arrays of numbers.
_HEADERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Refused(Exception):
    """A reply must not leave; `code` is all that the server learns."""

    def __init__(self, code: ReplyCode, why: str) -> None:
        super().__init__(why)
        self.code = code


def check_reply(message_type: str, received: Content, reply: Content) -> None:
    """Raise Refused unless `reply` may leave as the answer to a message of `message_type` that held `received`."""
    category = message_type.split(".", 1)[0]
    allowed = ALLOWED.get(category)
    if allowed is None:
        raise Refused(ReplyCode.UPDATE_MISMATCH, f"no reply is allowed to a message of type {category!r}")
    for name, record in reply.items():
        if record.kind not in allowed:
            raise Refused(ReplyCode.UPDATE_MISMATCH, f"{category} reply holds the {record.kind} record {name!r}")
        if record.kind is RecordKind.ARRAYS:
            _check_arrays(name, record)
            if category == "train":
                _check_same(name, record, received)
        else:
            _check_values(name, record.values.items())


def _check_arrays(name: str, record: RecordView) -> None:
    for key, array in record.arrays.items():
        value = _load(f"{name}/{key}", array)
        if value.dtype.kind in "fc" and not np.isfinite(value).all():
            raise Refused(ReplyCode.NON_FINITE_UPDATE, f"array {name}/{key} is not finite")


def _load(name: str, array: ArrayView) -> NDArray[Any]:
    """The array in the bytes, without a copy. The bytes must be what is announced and not one more."""
    if array.stype != NUMPY_STYPE:
        raise Refused(ReplyCode.UPDATE_MISMATCH, f"array {name} has the type {array.stype!r}")
    stream = io.BytesIO(array.data)
    try:
        read_header = _HEADERS[np.lib.format.read_magic(stream)]
        shape, fortran, dtype = read_header(stream)
    # Whatever numpy makes of a stranger's bytes, it is a refusal.
    except Exception as error:
        raise Refused(ReplyCode.UPDATE_MISMATCH, f"array {name} cannot be read: {type(error).__name__}") from error
    if dtype.kind not in NUMBER_KINDS:
        raise Refused(ReplyCode.UPDATE_MISMATCH, f"array {name} holds no numbers but {dtype}")
    if str(dtype) != array.dtype or shape != array.shape or any(side < 0 for side in shape):
        raise Refused(ReplyCode.UPDATE_MISMATCH, f"array {name} is not what it announces")
    start, count = stream.tell(), math.prod(shape)
    if len(array.data) != start + count * dtype.itemsize:
        raise Refused(ReplyCode.UPDATE_MISMATCH, f"array {name} has not the bytes that its shape asks for")
    if count == 0:
        return np.empty(shape, dtype)
    values: NDArray[Any] = np.frombuffer(array.data, dtype, count, start)
    return values.reshape(shape, order="F" if fortran else "C")


def _check_same(name: str, record: RecordView, received: Content) -> None:
    """An update has the names, shapes and dtypes of what was received: of the same record, else of any."""
    named = received.get(name)
    if named is not None and named.kind is RecordKind.ARRAYS:
        candidates = [named]
    else:
        candidates = [other for other in received.values() if other.kind is RecordKind.ARRAYS]
    announced = {key: array.announced for key, array in record.arrays.items()}
    for candidate in candidates:
        if announced == {key: array.announced for key, array in candidate.arrays.items()}:
            return
    raise Refused(ReplyCode.UPDATE_MISMATCH, f"arrays {name!r} differ from what was received in name, shape or dtype")


def _check_values(name: str, values: Iterable[tuple[str, Any]]) -> None:
    for key, value in values:
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, float) and not math.isfinite(item):
                raise Refused(ReplyCode.NON_FINITE_METRIC, f"value {name}/{key} is not finite")
