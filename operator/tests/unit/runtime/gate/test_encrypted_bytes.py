"""Ciphertexts and sealed states in a message: looked at where they lie, and refused when they are none."""

import numpy as np
import pytest

from hanse.api.replies import ReplyCode
from hanse.runtime.gate.content import RecordKind, RecordView
from hanse.runtime.gate.encrypted_answers import bytes_of, bytes_record
from hanse.runtime.gate.npy import view_of
from hanse.runtime.gate.refused import Refused


@pytest.mark.parametrize("data", [b"", b"\0", bytes(range(256)) * 100])
def test_what_was_packed_is_read_without_a_copy(data: bytes) -> None:
    record = bytes_record("ciphertexts", "p0", data)["ciphertexts"]
    found = bytes_of(record, "p0")
    assert found == data
    received = np.frombuffer(record.arrays["p0"].data, np.uint8)
    assert not data or np.shares_memory(np.frombuffer(found, np.uint8), received)


def test_what_is_no_row_of_bytes_is_refused() -> None:
    arrays = {"floats": view_of(np.zeros(3)), "square": view_of(np.zeros((2, 2), np.uint8))}
    record = RecordView(RecordKind.ARRAYS, arrays=arrays)
    for given, name in ((record, "floats"), (record, "square"), (record, "p0"), (None, "p0")):
        with pytest.raises(Refused) as caught:
            bytes_of(given, name)
        assert caught.value.code is ReplyCode.CIPHERTEXT_INVALID
