"""Arrays in and out of a message's bytes: numpy's own format, read as a stranger's. Used by checks and filters."""

import io
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hanse.api.replies import ReplyCode
from hanse.runtime.gate.content import ArrayView
from hanse.runtime.gate.refused import Refused

#: Flower's stype of an array that numpy can read; anything else cannot be looked into, so it stays here.
NUMPY_STYPE: Final = "numpy.ndarray"
#: Booleans, integers, floats, complex numbers. Objects, strings, dates and structures are refused.
NUMBER_KINDS: Final = frozenset("biufc")
#: The formats that numpy.save writes for arrays of numbers.
_HEADERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_array(name: str, array: ArrayView) -> NDArray[Any]:
    """The array in the bytes, without a copy. The bytes must be what is announced and not one more. Raises Refused."""
    if array.stype != NUMPY_STYPE:
        raise Refused(ReplyCode.UPDATE_MISMATCH, f"array {name} is not numpy's")
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


def view_of(value: NDArray[Any]) -> ArrayView:
    """The array as it travels; equal arrays give equal bytes."""
    stream = io.BytesIO()
    np.save(stream, np.asarray(value, order="C"), allow_pickle=False)
    return ArrayView(str(value.dtype), tuple(value.shape), NUMPY_STYPE, stream.getvalue())
