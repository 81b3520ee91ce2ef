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
    NON_FINITE_UPDATE = 1101
    NON_FINITE_METRIC = 1102
    UPDATE_MISMATCH = 1103
    DATASET_INVALID = 1104


REASONS: Final[dict[ReplyCode, Reason]] = {
    ReplyCode.APP_ERROR: Reason.APP_ERROR,
    ReplyCode.TRAINER_DIED: Reason.TRAINER_DIED,
    ReplyCode.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY,
    ReplyCode.DRAINED: Reason.DRAINED,
    ReplyCode.GATE_RESTARTED: Reason.GATE_RESTARTED,
    ReplyCode.ROUND_TIMEOUT: Reason.ROUND_TIMEOUT,
    ReplyCode.NON_FINITE_UPDATE: Reason.NON_FINITE_UPDATE,
    ReplyCode.NON_FINITE_METRIC: Reason.NON_FINITE_METRIC,
    ReplyCode.UPDATE_MISMATCH: Reason.UPDATE_MISMATCH,
    ReplyCode.DATASET_INVALID: Reason.DATASET_INVALID,
}


def reason_for(code: int) -> Reason:
    """Reason of an error reply; Flower's own codes and unknown ones are `AppError`."""
    try:
        return REASONS[ReplyCode(code)]
    except ValueError:
        return Reason.APP_ERROR
