"""Homomorphic encryption of sums: BFV, CKKS and none, behind one interface. The only importer of TenSEAL.

Used by gates (`Cipher`, and `Summing` to verify) and by the aggregator (`Summing`, which needs no key). Knows nothing
of models, messages or noise: integers in, their exact integer sum out.
"""

from hanse.runtime.he.cipher import Cipher
from hanse.runtime.he.engine import LANE_BITS, LANE_LIMIT, Engine, Facts, Points, engine_of, facts_of
from hanse.runtime.he.errors import (
    CiphertextInvalid,
    CountMismatch,
    DecryptionImplausible,
    HeError,
    KeyInvalid,
    PointOutOfRange,
    TooManyCiphertexts,
    WorkerLost,
)
from hanse.runtime.he.halves import Halves, join_total, split_total, split_upload
from hanse.runtime.he.keys import fingerprint
from hanse.runtime.he.summing import Summing
from hanse.runtime.he.uploads import UploadSum

__all__ = [
    "LANE_BITS",
    "LANE_LIMIT",
    "Cipher",
    "CiphertextInvalid",
    "CountMismatch",
    "DecryptionImplausible",
    "Engine",
    "Facts",
    "Halves",
    "HeError",
    "KeyInvalid",
    "PointOutOfRange",
    "Points",
    "Summing",
    "TooManyCiphertexts",
    "UploadSum",
    "WorkerLost",
    "engine_of",
    "facts_of",
    "fingerprint",
    "join_total",
    "split_total",
    "split_upload",
]
