"""Progress of a run as the aggregator sees it: who is connected, what each round brought, how long it will take.

The round loop and the grid of a user's own ServerApp write it; the launcher adds what it knows and passes it on.
"""

import datetime
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from hanse.api.conditions import Reason
from hanse.api.job import MAX_MISSING_NAMES, MAX_ROUND_HISTORY, RoundRecord
from hanse.api.meta import clip_message
from hanse.api.progress import EncryptionProgress, ModelFile, ParticipantProgress, Phase, Progress
from hanse.api.runconfig import RunConfig

Publish = Callable[[Progress], None]
_ETA_ROUNDS: Final = 5


@dataclass
class Reporter:
    """Holds the newest state and publishes it as a whole each time."""

    config: RunConfig
    publish: Publish
    now: Callable[[], datetime.datetime]
    phase: Phase = "Starting"
    reason: str = ""
    message: str = ""
    completed: int = 0
    round_started_at: datetime.datetime | None = None
    rounds: list[RoundRecord] = field(default_factory=list)
    contributed: dict[str, int] = field(default_factory=dict)
    model: ModelFile | None = None
    encryption: EncryptionProgress | None = None
    connected: frozenset[int] = frozenset()
    last_seen: dict[int, datetime.datetime] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)

    def update(self, **changes: Any) -> None:
        """Set what changed and publish."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.publish(self.progress())

    def see(self, connected: frozenset[int]) -> None:
        """Publish when somebody came or went."""
        if connected != self.connected:
            for index in connected - self.connected:
                self.reasons.pop(index, None)
            self.update(connected=connected)

    def heard(self, indices: Iterable[int]) -> None:
        """Remember who has just answered; published with the next change."""
        self.last_seen.update(dict.fromkeys(indices, self.now()))

    def progress(self) -> Progress:
        """The whole state. Sequence, run and pod are the launcher's to fill in."""
        return Progress(
            job_uid=self.config.job.uid,
            sequence=0,
            phase=self.phase,
            reason=self.reason,
            message=clip_message(self.message),
            completed=self.completed,
            total=self.config.rounds,
            round_started_at=self.round_started_at if self.phase == "Running" else None,
            eta_seconds=self._eta(),
            updated_at=self.now(),
            participants=[
                ParticipantProgress(
                    name=p.name,
                    connected=p.index in self.connected,
                    last_seen=self.last_seen.get(p.index),
                    rounds_contributed=self.contributed.get(p.name, 0),
                    reason=self._reason(p.index),
                )
                for p in self.config.participants
            ],
            rounds=list(reversed(self.rounds[-MAX_ROUND_HISTORY:])),
            model=self.model,
            encryption=self.encryption,
        )

    def _reason(self, index: int) -> str:
        if index not in self.connected:
            return self.reasons.get(index, Reason.NOT_CONNECTED)
        return self.reasons.get(index, "")

    def _eta(self) -> int | None:
        newest = self.rounds[-_ETA_ROUNDS:]
        if self.phase != "Running" or not newest:
            return None
        mean = sum(float(record.seconds) for record in newest) / len(newest)
        return round(mean * max(self.config.rounds - self.completed, 0))


def round_record(
    number: int,
    contributed: int,
    missing: list[str],
    reasons: dict[str, str],
    seconds: float,
    metrics: dict[str, float],
    digest: str | None,
    sent: int | None = None,
) -> RoundRecord:
    """A finished round within the API's bounds: ten names, sixteen metrics, numbers as strings."""
    return RoundRecord(
        number=number,
        contributed=contributed,
        missing=missing[:MAX_MISSING_NAMES],
        reasons=dict(list(reasons.items())[:MAX_MISSING_NAMES]),
        seconds=f"{seconds:.3f}",
        metrics=metric_texts(metrics),
        model_digest=digest,
        bytes=sent,
    )


def metric_texts(metrics: dict[str, float]) -> dict[str, str]:
    """Metrics as a record has them: sixteen at most, short names."""
    return {name[:63]: decimal_text(value) for name, value in list(metrics.items())[:16]}


def decimal_text(value: float) -> str:
    """Nine significant digits, in the form that the API's Decimal allows."""
    return f"{value:.9g}".replace("e+", "e")
