"""What one gate has bound itself to, on disk before the reply leaves: one key, one list and one sum for a round.

Used by gates (`hanse.runtime.gate`). A gate that is killed and comes back does not vote for another list. The directory
is the pod's: a gate whose pod was replaced has forgotten, so it is told by the others how far they are (`begin`) and
has no vote up to that round.
"""

import threading
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError

from hanse.api.encryption import Digest, Half
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement.statements import BaseRound, Round, Strict
from hanse.runtime.durable import replace_file
from hanse.runtime.refused import Refused

FILE: Final = "ballot.json"


class _Key(Strict):
    epoch: Annotated[int, Field(ge=1)]
    fingerprint: Digest


class _Voted(Strict):
    """The newest round that this gate has taken a list for; `sum_digest` once it has decrypted."""

    round: Round
    list_digest: Digest
    sum_digest: Digest | None = None


class _Taken(Strict):
    """The half of the ciphertexts that this gate takes in the newest round that it verifies."""

    round: Round
    half: Half


class _Committed(Strict):
    round: BaseRound
    model: Digest


class _Record(Strict):
    agreement: Digest
    key: _Key | None = None
    voted: _Voted | None = None
    taken: _Taken | None = None
    committed: _Committed | None = None
    #: The newest round that an update was made for.
    asked: BaseRound = 0
    #: Up to this round another gate may have voted in this one's place.
    begun: BaseRound = 0


class Ballot:
    """The record of one gate in a directory of its own. Threads may share it.

    Every method writes durably before it returns, and raises Refused(GATE_FAILED) when it cannot write. What was said
    may be said again. Raises Refused(STATE_REFUSED) at the start when the record cannot be read, or is another job's.
    """

    def __init__(self, directory: Path, agreement: str) -> None:
        self._path = directory / FILE
        self._lock = threading.Lock()
        self._record = self._read(agreement)

    @property
    def fingerprint(self) -> str | None:
        """The key that was confirmed."""
        return None if self._record.key is None else self._record.key.fingerprint

    @property
    def committed(self) -> int:
        """The last round that was committed, 0 at first; never lower than before."""
        return 0 if self._record.committed is None else self._record.committed.round

    @property
    def newest(self) -> int:
        """The newest round that this gate has had any part in, or was told of when it began."""
        of = self._record
        rounds = [one.round for one in (of.voted, of.taken, of.committed) if one is not None]
        return max(of.asked, of.begun, *rounds, 0)

    def begin(self, after: int) -> None:
        """Before this gate's first part in a round: others are at `after`, perhaps with a gate before it."""
        with self._lock:
            self._write(begun=max(after, self._record.begun))

    def ask(self, round: int) -> None:
        """Before an update leaves: who comes in another's place is told of this round from now on."""
        with self._lock:
            self._write(asked=max(round, self._record.asked))

    def confirm(self, epoch: int, fingerprint: str) -> None:
        """Before a Confirmation leaves, and before the maker says what its key is. Raises Refused(KEY_REFUSED)."""
        with self._lock:
            asked, known = _Key(epoch=epoch, fingerprint=fingerprint), self._record.key
            if known is not None and known != asked:
                raise Refused(ReplyCode.KEY_REFUSED, f"another key of epoch {known.epoch} was confirmed before")
            self._write(key=asked)

    def take(self, round: int, half: Half) -> None:
        """Before one half of a round's ciphertexts is looked at, in a plan that keeps them apart.

        Raises Refused(STALE_ROUND: an older round; SUM_REFUSED: the other half was here; SECOND_SUM: as `vote`).
        """
        with self._lock:
            self._check_begun(round)
            asked, before = _Taken(round=round, half=half), self._record.taken
            if before is not None and round < before.round:
                why = f"halves of round {round}, but this gate has seen some of round {before.round}"
                raise Refused(ReplyCode.STALE_ROUND, why)
            if before is not None and round == before.round and before != asked:
                raise Refused(ReplyCode.SUM_REFUSED, f"this gate has had the {before.half.lower()} of round {round}")
            self._write(taken=asked)

    def vote(self, round: int, list_digest: str) -> None:
        """Before a Vote leaves.

        Raises Refused(STALE_ROUND: an older round; SECOND_SUM: another list, or a round in which a gate before this one
        may have voted).
        """
        with self._lock:
            self._check_begun(round)
            self._check_list(round, list_digest)
            if self._record.voted is None or self._record.voted.round < round:
                self._write(voted=_Voted(round=round, list_digest=list_digest))

    def decide(self, round: int, list_digest: str, sum_digest: str) -> None:
        """Before anything is decrypted. Raises Refused(STALE_ROUND; SECOND_SUM: another list or sum)."""
        with self._lock:
            self._check_list(round, list_digest)
            asked, before = _Voted(round=round, list_digest=list_digest, sum_digest=sum_digest), self._record.voted
            if before is not None and before.round == round and before.sum_digest not in (None, sum_digest):
                raise Refused(ReplyCode.SECOND_SUM, f"another sum of round {round} was decrypted before")
            self._write(voted=asked)

    def commit(self, round: int, model: str) -> None:
        """A round's model is the job's. Raises Refused(STALE_ROUND: an older one; MODEL_MISMATCH: another model)."""
        with self._lock:
            asked, before = _Committed(round=round, model=model), self._record.committed
            if before is not None and round < before.round:
                raise Refused(ReplyCode.STALE_ROUND, f"round {before.round} is committed, {round} is older")
            if before is not None and round == before.round and before != asked:
                raise Refused(ReplyCode.MODEL_MISMATCH, f"another model was committed for round {round}")
            self._write(committed=asked)

    def _check_begun(self, round: int) -> None:
        if round <= self._record.begun:
            why = f"this gate has begun after round {round}, and who was here before it may have voted in it"
            raise Refused(ReplyCode.SECOND_SUM, why)

    def _check_list(self, round: int, list_digest: str) -> None:
        before = self._record.voted
        newest = max(self.committed + 1, 0 if before is None else before.round)
        if round < newest:
            raise Refused(ReplyCode.STALE_ROUND, f"a list of round {round}, but this gate is in round {newest}")
        if before is not None and before.round == round and before.list_digest != list_digest:
            raise Refused(ReplyCode.SECOND_SUM, f"this gate has taken another list for round {round} before")

    def _write(self, **changes: Strict | int) -> None:
        record = self._record.model_copy(update=changes)
        if record == self._record:
            return
        try:
            replace_file(self._path, record.model_dump_json().encode())
        except OSError as error:
            why = f"what this gate signs cannot be recorded: {error.strerror}"
            raise Refused(ReplyCode.GATE_FAILED, why) from error
        self._record = record

    def _read(self, agreement: str) -> _Record:
        try:
            record = _Record.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return _Record(agreement=agreement)
        # An empty ballot in its place would let this gate vote twice.
        except (OSError, ValidationError) as error:
            raise Refused(ReplyCode.STATE_REFUSED, "the record of what this gate has signed is damaged") from error
        if record.agreement != agreement:
            raise Refused(ReplyCode.STATE_REFUSED, "the record of what this gate has signed is of another job or plan")
        return record
