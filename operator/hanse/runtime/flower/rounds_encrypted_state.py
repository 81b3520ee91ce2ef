"""What the server of an encrypted job must not forget, and its checkpoint: statements, history, a sealed state.

Used by the encrypted round loop. The server can read none of what the gates sealed; who holds the key loads it.

Files: `encrypted.ckpt` (magic, sha256, JSON) with a copy as `.previous`, and `sealed-ROUND.bin`, which is large and
written only when there is a new one. A sealed state that is damaged is as good as none: any gate that is up to date
seals another one.
"""

import hashlib
import logging
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from hanse.api.encryption import Half
from hanse.api.exitcodes import ExitCode
from hanse.api.job import RoundRecord
from hanse.runtime.aggregation.checkpoint import (
    CheckpointCorrupt,
    CheckpointMissing,
    framed,
    newest,
    previous,
    unframed,
)
from hanse.runtime.agreement.messages import Commit
from hanse.runtime.agreement.statements import Confirmation, Contribution, KeyStatement
from hanse.runtime.durable import replace_file, replacing
from hanse.runtime.flower.rounds_fleet import RunFailedError
from hanse.runtime.flower.rounds_state import HISTORY_LIMIT
from hanse.runtime.flower.rounds_suspects import still_suspect

_MAGIC: Final = b"HANSEEC1"
_log = logging.getLogger("hanse.encrypted")


class Pending(BaseModel):
    """A round whose list is decided: it is finished with exactly these contributions, or it is void."""

    model_config = ConfigDict(extra="forbid")

    round: int
    contributions: list[Contribution]
    #: Which half of the ciphertexts a verifier was sent, by name.
    halves: dict[str, Half] = Field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Whose they are."""
        return [c.participant for c in self.contributions]


class SealedFile(BaseModel):
    """A sealed state beside the checkpoint."""

    model_config = ConfigDict(extra="forbid")

    round: int
    sha256: str


class Saved(BaseModel):
    """The checkpoint's JSON."""

    model_config = ConfigDict(extra="forbid")

    job_uid: str
    agreement: str
    statement: KeyStatement | None = None
    confirmations: list[Confirmation] = Field(default_factory=list)
    #: Rounds that are over, void ones too.
    completed: int = 0
    #: Void rounds since the last one that counted.
    voids: int = 0
    #: Whose updates all sums had in common that were none, less those that have been in a good one since.
    suspects: list[str] = Field(default_factory=list)
    #: Rounds up to this one are evaluated, as far as they are to be.
    evaluated: int = 0
    #: The newest model that enough gates agree on; None while it is the first model.
    commit: Commit | None = None
    sealed: SealedFile | None = None
    pending: Pending | None = None
    #: Digest of the first model's arrays.
    first: str = ""
    #: Integers in an update.
    points: int = 0
    history: list[RoundRecord] = Field(default_factory=list)
    contributed: dict[str, int] = Field(default_factory=dict)
    statistics: dict[str, Any] | None = None
    model_metadata: str = ""


class EncryptedState:
    """The state between two steps; `save` makes it durable, `restore` brings it back."""

    def __init__(self, directory: Path, job_uid: str, agreement: str) -> None:
        self._path = directory / "encrypted.ckpt"
        self.saved = Saved(job_uid=job_uid, agreement=agreement)

    # -- what it says

    @property
    def base(self) -> int:
        """The round of the committed model; 0 is the first model."""
        return 0 if self.saved.commit is None else self.saved.commit.round

    @property
    def model(self) -> str:
        """Digest of the committed model's arrays."""
        return self.saved.first if self.saved.commit is None else self.saved.commit.applied[0].model

    @property
    def contributors(self) -> list[str]:
        """Whose updates are in the model."""
        return [name for name, rounds in self.saved.contributed.items() if rounds]

    @property
    def sealed_is_current(self) -> bool:
        """Whether a gate without the committed model can be given it."""
        return self.base == 0 or (self.saved.sealed is not None and self.saved.sealed.round == self.base)

    def seed(self, number: int) -> int:
        """The app's seed of a round, public; a round that is cut off goes on with the same one."""
        digest = hashlib.sha256(f"{self.saved.agreement} round {number}".encode()).digest()
        return int.from_bytes(digest[:4], "big") >> 1

    # -- what happens to it

    def seal(self, round_: int, sealed: bytes) -> None:
        """Keep what a gate has sealed; durable before the checkpoint that names it."""
        try:
            replace_file(self._sealed_file(round_), sealed)
        except OSError as error:
            raise RunFailedError(ExitCode.OUTPUT_FAILED, f"the sealed state was not saved: {error}") from error
        self.saved.sealed = SealedFile(round=round_, sha256=hashlib.sha256(sealed).hexdigest())

    def forget_sealed(self) -> None:
        """What was sealed is of no use."""
        self.saved.sealed = None

    def sealed(self) -> bytes | None:
        """The newest sealed state, read from the disk: it may be as large as the model. None when it is damaged."""
        named = self.saved.sealed
        if named is None:
            return None
        try:
            content = self._sealed_file(named.round).read_bytes()
        except OSError as error:
            _log.warning("the sealed state of round %d is lost: %s", named.round, error)
            content = b""
        if hashlib.sha256(content).hexdigest() == named.sha256:
            return content
        _log.warning("the sealed state of round %d is damaged", named.round)
        self.forget_sealed()
        return None

    def commit(self, commit: Commit, names: list[str]) -> None:
        """The round's model is the job's."""
        self.saved.commit = commit
        self.saved.voids = 0
        self.saved.suspects = [name for name in self.saved.suspects if name not in names]
        for name in names:
            self.saved.contributed[name] = self.saved.contributed.get(name, 0) + 1

    def close_round(self, record: RoundRecord) -> None:
        """The round is over; what its evaluation brings comes later: `replace_record`."""
        self.saved.completed = record.number
        self.saved.pending = None
        self.saved.history = [*self.saved.history, record][-HISTORY_LIMIT:]

    def suspect(self, names: list[str]) -> bool:
        """The sum of these updates was none; whether fewer are under suspicion than before."""
        before = len(self.saved.suspects)
        self.saved.suspects = still_suspect(self.saved.suspects, names)
        return len(self.saved.suspects) < before

    def void_round(self, record: RoundRecord) -> None:
        """The round is over and has brought nothing."""
        self.close_round(record)
        self.saved.evaluated = record.number
        self.saved.voids += 1

    def replace_record(self, record: RoundRecord) -> None:
        """The newest round's record, with what its evaluation brought."""
        self.saved.history[-1] = record
        self.saved.evaluated = record.number

    def save(self) -> None:
        """Write the checkpoint. A full or lost volume ends the run: going on would lose what it does."""
        payload = self.saved.model_dump_json(by_alias=True).encode()
        try:
            content = framed(_MAGIC, payload)
            replace_file(self._path, content)
            # The gates never go back, so an older state would be of no use: the second file is a copy.
            with replacing(previous(self._path)) as file:
                file.write(content)
            self._forget()
        except OSError as error:
            raise RunFailedError(
                ExitCode.OUTPUT_FAILED, f"checkpoint of round {self.saved.completed} was not saved: {error}"
            ) from error

    def restore(self) -> bool:
        """Go on from the checkpoint; False when there is none."""
        try:
            saved = newest(self._path, _read)
        except CheckpointMissing:
            return False
        except CheckpointCorrupt as error:
            raise RunFailedError(ExitCode.CHECKPOINT_INVALID, str(error)) from error
        if (saved.job_uid, saved.agreement) != (self.saved.job_uid, self.saved.agreement):
            raise RunFailedError(ExitCode.CHECKPOINT_INVALID, "the checkpoint is another job's: use another volume")
        self.saved = saved
        return True

    # -- sealed files

    def _sealed_file(self, round_: int) -> Path:
        return self._path.with_name(f"sealed-{round_}.bin")

    def _forget(self) -> None:
        """All sealed files but the newest two: one that no checkpoint names yet, and the one that is named."""
        files = sorted(self._path.parent.glob("sealed-*.bin"), key=_round_of)
        for old in files[:-2]:
            if self.saved.sealed is None or _round_of(old) != self.saved.sealed.round:
                old.unlink(missing_ok=True)


def _round_of(path: Path) -> int:
    return int(path.stem.removeprefix("sealed-"))


def _read(path: Path) -> Saved:
    return Saved.model_validate_json(unframed(_MAGIC, path.read_bytes()))
