"""Codes of the error replies that leave a gate: numbers only, never text of the app.

The gate sends them, the aggregator names them.
"""

from enum import IntEnum
from typing import Final

from hanse.api.conditions import Reason


class ReplyCode(IntEnum):
    """Flower `Error.code` of a reply that was refused or could not be made."""

    APP_ERROR = 1001
    TRAINER_DIED = 1002
    OUT_OF_MEMORY = 1003
    DRAINED = 1004
    GATE_RESTARTED = 1005
    ROUND_TIMEOUT = 1006
    GATE_FAILED = 1007
    NON_FINITE_UPDATE = 1101
    NON_FINITE_METRIC = 1102
    UPDATE_MISMATCH = 1103
    DATASET_INVALID = 1104
    NOT_ALLOWED_IN_REPLY = 1105
    BUDGET_EXHAUSTED = 1201
    LEASE_LOST = 1202
    LEDGER_UNAVAILABLE = 1203
    ALREADY_RELEASED = 1204
    BUDGET_NOT_RESERVED = 1205
    DATASET_MOVED = 1206
    BUDGET_DAMAGED = 1207
    ATTEMPTS_EXHAUSTED = 1208
    INITIAL_MODEL_MISMATCH = 1301
    STEP_TOO_LARGE = 1302
    # encrypted jobs: docs/encryption.md
    KEY_NOT_HELD = 1401
    KEY_REFUSED = 1402
    SIGNATURE_INVALID = 1403
    SUM_REFUSED = 1404
    TOO_FEW_CONTRIBUTIONS = 1405
    STALE_ROUND = 1406
    SECOND_SUM = 1407
    STATE_MISSING = 1408
    STATE_REFUSED = 1409
    MODEL_MISMATCH = 1410
    RELEASE_REFUSED = 1411
    CIPHERTEXT_INVALID = 1412


#: Each code has the reason of its name.
REASONS: Final[dict[ReplyCode, Reason]] = {code: Reason[code.name] for code in ReplyCode}


def reason_for(code: int) -> Reason:
    """Reason of an error reply; Flower's own codes and unknown ones are `AppError`."""
    try:
        return REASONS[ReplyCode(code)]
    except ValueError:
        return Reason.APP_ERROR
