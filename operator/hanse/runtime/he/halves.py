"""The two halves of an upload and of a total: cut from their bytes, and joined. Called by gates and the server.

Verifiers get one half of each upload, others get the other (`hanse.runtime.agreement`): half a ciphertext says nothing
of the message, also to who holds the key (`rlwe.py`), while the sum of each half is the half of the sum.

Bodies are the c0 of all chunks, seeds the 64 bytes that each c1 comes from; in a total the sum of these c1. Each half
has a header of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.he import planes
from hanse.runtime.he.blob import HEADER_BYTES, TOTAL_HALF, UPLOAD_HALF, Form, Header, split
from hanse.runtime.he.engine import Facts, facts_of
from hanse.runtime.he.errors import CiphertextInvalid
from hanse.runtime.he.framed import check_count, total_body, total_header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hanse.api.encryption import Half, Scheme

Halves = dict["Half", bytes]
_Columns = tuple[list[slice], list[slice]]


def split_upload(scheme: Scheme, upload: bytes, count: int) -> Halves:
    """The halves of an upload of `count` points. Raises CiphertextInvalid for what is none, by header and size."""
    check_count(count)
    facts = facts_of(scheme)
    _, body = split(upload, Header(scheme, Form.SEEDED, 1, count), facts.max_ciphertext_bytes(count) - HEADER_BYTES)
    size = facts.upload_chunk_bytes
    end = size - planes.SEED_BYTES if facts.coefficient_bits else size
    rows = np.frombuffer(body, np.uint8).reshape(-1, size)
    made = {half: Header(scheme, form, 1, count) for half, form in UPLOAD_HALF.items()}
    return _cut(rows, ([slice(end)], [slice(end, None)]), made)


def split_total(scheme: Scheme, total: bytes | memoryview, count: int) -> Halves:
    """The halves of a total of `count` points. Raises as `split_upload`."""
    facts = facts_of(scheme)
    summands, body = total_body(total, facts, count)
    rows = np.frombuffer(body, np.uint8).reshape(-1, facts.total_chunk_bytes)
    return _cut(rows, _columns(facts), {half: total_header(facts, count, summands, half) for half in TOTAL_HALF})


def join_total(scheme: Scheme, halves: Mapping[Half, bytes], count: int) -> bytes:
    """The total of two halves. Raises CiphertextInvalid, also when they are of other numbers of summands."""
    facts = facts_of(scheme)
    rows = np.empty((facts.chunks(count), facts.total_chunk_bytes), np.uint8)
    found = set()
    for half, columns in zip(TOTAL_HALF, _columns(facts), strict=True):
        expected = total_header(facts, count, facts.most_clients, half)
        summands, body = split(halves[half], expected, facts.max_total_bytes(count, half) - HEADER_BYTES)
        found.add(summands)
        part = np.frombuffer(body, np.uint8).reshape(len(rows), -1)
        at = 0
        for column in columns:
            target = rows[:, column]
            target[...] = part[:, at : at + target.shape[1]]
            at += target.shape[1]
    if len(found) > 1:
        raise CiphertextInvalid("halves of totals of two numbers of summands")
    return bytes(total_header(facts, count, found.pop())) + rows.tobytes()


def _columns(facts: Facts) -> _Columns:
    if not facts.coefficient_bits:
        return [slice(None)], []
    return planes.halves(facts.coefficient_bits, facts.total_chunk_bytes)


def _cut(rows: NDArray[np.uint8], columns: _Columns, headers: Mapping[Half, Header]) -> Halves:
    halves: Halves = {}
    for (half, header), chosen in zip(headers.items(), columns, strict=True):
        parts = np.concatenate([rows[:, :0], *(rows[:, column] for column in chosen)], axis=1)
        halves[half] = b"".join((bytes(header), parts.data))  # uploads are large: no copy more than this one
    return halves
