"""Which records a participant evaluates on: a function of the record's id alone, so it never changes between rounds."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def evaluation_mask(ids: Sequence[str], fraction: float) -> NDArray[np.bool_]:
    """True for the records that are kept for evaluation, about `fraction` of them."""
    return np.fromiter((unit_hash(record, "evaluation") < fraction for record in ids), np.bool_, len(ids))


def unit_hash(record: str, purpose: str) -> float:
    """A number in [0, 1) from a record's id; independent of that of any other purpose."""
    digest = hashlib.sha256(f"{purpose}\0{record}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
