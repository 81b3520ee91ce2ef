"""Progress: the whole state of a run, pushed by the launcher to the operator and left as the termination message.

The operator's answer is a ProgressReply.
"""

from typing import Literal

from pydantic import AwareDatetime, Field

from hanse.api.job import MAX_PARTICIPANTS, MAX_ROUND_HISTORY, RoundRecord
from hanse.api.meta import ApiModel, Message, ShortName

Phase = Literal["Starting", "WaitingForParticipants", "Running", "Complete", "Failed"]
TERMINATION_MESSAGE_LIMIT = 4096


class ParticipantProgress(ApiModel):
    """One participant, as the server sees it."""

    name: ShortName
    connected: bool = False
    last_seen: AwareDatetime | None = None
    rounds_contributed: int = Field(default=0, ge=0)
    reason: str = Field(default="", max_length=64)


class ModelFile(ApiModel):
    """The model file, relative to the output volume."""

    path: str = Field(max_length=256)
    digest: str = Field(max_length=80)
    bytes: int = Field(ge=0)


class EncryptionProgress(ApiModel):
    """Who holds the key of an encrypted job, as the gates have signed it."""

    fingerprint: str = Field(default="", max_length=80, description="Of the job's key; empty until it is made.")
    maker: ShortName
    holders: list[ShortName] | None = Field(
        default=None, max_length=MAX_PARTICIPANTS, description="Who confirmed the key and may have it; null: not said."
    )


class ProgressReply(ApiModel):
    """What the operator answers to a push (200, or 204 where there is nothing to say): what only it can know."""

    lost: list[ShortName] = Field(
        default_factory=list, max_length=MAX_PARTICIPANTS, description="Participants that can contribute no more."
    )


class Progress(ApiModel):
    """The whole state each time: losing one push loses nothing."""

    job_uid: str = Field(max_length=64)
    sequence: int = Field(ge=0, description="Rises with each push of one pod.")
    pod: str = Field(default="", max_length=253)
    phase: Phase = "Starting"
    reason: str = Field(default="", max_length=64, description="Reason of Complete or Failed.")
    message: Message = ""
    run: int = Field(default=1, ge=1, description="Which Flower run this is; each resume is a new one.")
    resumed: int = Field(default=0, ge=0, description="Resumes that count against backoffLimit.")
    completed: int = Field(default=0, ge=0)
    total: int = Field(default=0, ge=0)
    round_started_at: AwareDatetime | None = None
    eta_seconds: int | None = Field(default=None, ge=0)
    updated_at: AwareDatetime
    participants: list[ParticipantProgress] = Field(default_factory=list, max_length=MAX_PARTICIPANTS)
    rounds: list[RoundRecord] = Field(default_factory=list, max_length=MAX_ROUND_HISTORY)
    model: ModelFile | None = None
    encryption: EncryptionProgress | None = Field(default=None, description="Encrypted jobs only.")

    def to_json(self) -> str:
        """The whole state as JSON."""
        return self.model_dump_json(by_alias=True, exclude_none=True)

    def _without_holders(self) -> EncryptionProgress | None:
        return self.encryption.model_copy(update={"holders": None}) if self.encryption is not None else None

    def to_termination_message(self) -> str:
        """The state within the kubelet's 4096 bytes: history is cut first, then participants' details."""
        smaller = [
            self,
            *(self.model_copy(update={"rounds": self.rounds[:n]}) for n in (10, 5, 1)),
            self.model_copy(update={"rounds": self.rounds[:1], "participants": []}),
            self.model_copy(update={"rounds": [], "participants": []}),
            self.model_copy(update={"rounds": [], "participants": [], "encryption": self._without_holders()}),
        ]
        texts = (candidate.to_json() for candidate in smaller)
        return next((t for t in texts if len(t.encode()) <= TERMINATION_MESSAGE_LIMIT), "")
