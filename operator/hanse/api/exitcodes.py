"""Exit codes of the pods' main containers and the reasons that they stand for.

The runtime exits with them, the operator reads them.

A permanent code fails the Job at once (podFailurePolicy FailJob); any other is retried within the Job's backoffLimit.
"""

from enum import IntEnum
from typing import Final

from hanse.api.conditions import Reason


class ExitCode(IntEnum):
    """Codes 64-99; 0 means that the end-of-job message arrived (client) or that the run is complete (server)."""

    COMPLETE = 0
    CONFIG_INVALID = 64
    APP_IMPORT_FAILED = 65
    FLOWER_VERSION_MISMATCH = 66
    DATASET_NOT_FOUND = 67
    DATASET_INVALID = 68
    OUT_OF_MEMORY = 69
    SERVER_LOST = 70
    GATE_FAILED = 71
    QUORUM_NOT_REACHED = 72
    QUORUM_LOST = 73
    FEATURE_MISMATCH = 74
    BACKOFF_LIMIT_EXCEEDED = 75
    PARTICIPANT_DROPPED = 76
    SERVER_APP_FAILED = 77
    DRAINED = 78
    CHECKPOINT_INVALID = 79
    OUTPUT_FAILED = 80
    KEY_LOST = 81
    MODEL_MISMATCH = 82
    MODEL_NOT_RELEASED = 83
    INTERNAL_ERROR = 99


#: Each code has the reason of its name.
REASONS: Final[dict[ExitCode, Reason]] = {code: Reason[code.name] for code in ExitCode if code is not ExitCode.COMPLETE}

#: Retrying changes nothing: the Job fails at once.
PERMANENT: Final[frozenset[ExitCode]] = frozenset(REASONS) - {
    ExitCode.SERVER_LOST,
    ExitCode.GATE_FAILED,
    ExitCode.DRAINED,
    ExitCode.INTERNAL_ERROR,
}


def reason_for(code: int) -> Reason:
    """The reason of an exit code; 137 without OOMKilled is a kill, everything unknown is `ContainerFailed`."""
    try:
        return REASONS[ExitCode(code)]
    except (ValueError, KeyError):
        return Reason.CONTAINER_KILLED if code in (137, 143) else Reason.CONTAINER_FAILED
