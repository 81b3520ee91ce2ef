"""What a run is made of: model, strategy, history, random state; how it becomes a checkpoint and comes back.

Used by the round loop.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from hanse.api.exitcodes import ExitCode
from hanse.api.job import RoundRecord
from hanse.runtime.aggregation import Arrays, Strategy
from hanse.runtime.aggregation.checkpoint import (
    Checkpoint,
    CheckpointCorrupt,
    CheckpointError,
    CheckpointMissing,
    load,
    save,
)
from hanse.runtime.flower.rounds_fleet import RunFailedError

#: Rounds that are kept in the checkpoint; the job's status has the newest 20.
HISTORY_LIMIT: Final = 1000


@dataclass
class RunState:
    """The state between two rounds."""

    job_uid: str
    strategy: Strategy
    arrays: Arrays = field(default_factory=dict)
    model_metadata: str = ""
    statistics: dict[str, Any] | None = None
    completed: int = 0
    history: list[RoundRecord] = field(default_factory=list)
    contributed: dict[str, int] = field(default_factory=dict)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def close_round(self, record: RoundRecord, arrays: Arrays, names: list[str]) -> None:
        """Take a finished round over."""
        self.arrays = arrays
        self.completed = record.number
        self.history = [*self.history, record][-HISTORY_LIMIT:]
        for name in names:
            self.contributed[name] = self.contributed.get(name, 0) + 1

    def save(self, path: Path) -> None:
        """Write the checkpoint. A full or lost volume ends the run: going on would lose what it does."""
        checkpoint = Checkpoint(
            job_uid=self.job_uid,
            round=self.completed,
            arrays=self.arrays,
            strategy_state=self.strategy.state(),
            history=[record.to_wire() for record in self.history],
            random_state=dict(self.random.bit_generator.state),
            statistics=self.statistics,
            model_metadata=self.model_metadata,
            contributed=self.contributed,
        )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save(checkpoint, path)
        except (OSError, CheckpointError) as error:
            raise RunFailedError(ExitCode.OUTPUT_FAILED, str(error)) from error

    def restore(self, path: Path) -> bool:
        """Go on from the checkpoint; False when there is none."""
        try:
            checkpoint = load(path)
        except CheckpointMissing:
            return False
        except CheckpointCorrupt as error:
            raise RunFailedError(ExitCode.CHECKPOINT_INVALID, str(error)) from error
        if checkpoint.job_uid != self.job_uid:
            raise RunFailedError(ExitCode.CHECKPOINT_INVALID, "the checkpoint is another job's: use another volume")
        self.strategy.load_state(checkpoint.strategy_state)
        self.arrays = checkpoint.arrays
        self.model_metadata = checkpoint.model_metadata
        self.statistics = checkpoint.statistics
        self.completed = checkpoint.round
        self.history = [RoundRecord.model_validate(entry) for entry in checkpoint.history]
        self.contributed = dict(checkpoint.contributed)
        self.random.bit_generator.state = checkpoint.random_state
        return True


def checkpoint_file(state: Path) -> Path:
    """Where a run's checkpoint is, on the job's volume."""
    return state / "checkpoint" / "run.ckpt"
