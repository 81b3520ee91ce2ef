"""The shared model in one gate and on its disk: committed, the candidate of the round, restored. Used by `encrypted`.

A file holds the state sealed as the server gets it. That hides nothing from who reads the directory: the job's
key (`encrypted_keys`) and what sums left out of this owner's updates (`encrypted_updates`) lie plain beside it. What
protects them is that the gate's container alone mounts the directory, which ends with the pod.

A candidate is written before this gate signs it; a commit is recorded in the ballot and then is a rename. A gate whose
files do not reach as far as its ballot asks to be restored; it never goes on from an older model.
"""

import logging
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from hanse.api.replies import ReplyCode
from hanse.runtime.agreement.ballot import Ballot
from hanse.runtime.agreement.checks import Outcome, check_applied
from hanse.runtime.agreement.messages import Commit
from hanse.runtime.agreement.roster import Roster
from hanse.runtime.agreement.sealing import seal, unseal
from hanse.runtime.agreement.statements import Applied, Strict
from hanse.runtime.durable import replacing
from hanse.runtime.gate.refused import Refused
from hanse.runtime.shared import Candidate, Digests, SharedModel, SharedModelError

log = logging.getLogger(__name__)

_COMMITTED: Final = "shared-model"
_CANDIDATE: Final = "shared-model.next"
_HEAD: Final = struct.Struct(">I")
_HEAD_LIMIT: Final = 1 << 16


class _About(Strict):
    """Of a sealed state on disk; `applied` is this gate's own word, none for a state that was restored.

    `counted` is the last round up to it in whose sum an update of this gate is; 0 when that is not known.
    """

    round: int
    model: str
    state: str
    applied: Applied | None = None
    counted: int = 0


class HeldModel:
    """See the module's docstring. `state_key` raises Refused while the key is not held."""

    def __init__(
        self, first: SharedModel, directory: Path, roster: Roster, ballot: Ballot, state_key: Callable[[], bytes]
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._first = self._model = first
        self._directory = directory
        self._roster, self._ballot, self._state_key = roster, ballot, state_key
        self._applied: Applied | None = None
        self._next: tuple[_About, Candidate | SharedModel] | None = None
        #: The last round in whose committed sum an update of this gate is; 0 when there is none, or it is not known.
        self.counted = 0

    def load(self) -> None:
        """Go on from what lies on disk; the key must be held."""
        if (found := self._read(_COMMITTED)) is not None:
            about, self._model = found
            self._applied, self.counted = about.applied, about.counted
            if about.round >= self._ballot.committed:
                self._ballot.commit(about.round, about.model)
        found = self._read(_CANDIDATE)
        if found is not None and found[0].applied is not None and found[0].round > self._model.round:
            self._next = found
            if found[0].round == self._ballot.committed:
                self._advance()  # killed between the ballot and the rename

    @property
    def model(self) -> SharedModel:
        """The committed model. Raises Refused(STATE_MISSING) when this gate has committed a later one and lost it."""
        if self._ballot.committed > self._model.round:
            raise Refused(ReplyCode.STATE_MISSING, f"the model of round {self._ballot.committed} is not here any more")
        return self._model

    @property
    def reached(self) -> tuple[int, str]:
        """The round that this gate stands at, and its model's digest: older than the ballot's when it lost a model."""
        return self._model.round, self._model.digests.model

    def absorb(self, commit: Commit | None) -> None:
        """The model that enough gates agree on. Raises Refused: MODEL_MISMATCH, STALE_ROUND, STATE_MISSING."""
        if commit is None:
            return
        outcome = check_applied(commit, roster=self._roster)
        if outcome.round <= self._ballot.committed:
            self._ballot.commit(outcome.round, outcome.model)
            return
        self._check_follows(outcome)
        if self._next is None or not _same(self._next[1], outcome):
            raise Refused(ReplyCode.STATE_MISSING, f"the model of round {outcome.round} is not here")
        self._ballot.commit(outcome.round, outcome.model)
        self._advance()

    def restore(self, commit: Commit, sealed: bytes | memoryview) -> None:
        """Take the committed model from another gate. Raises Refused: STATE_REFUSED, and as `absorb`."""
        outcome = check_applied(commit, roster=self._roster)
        if outcome.round < self._ballot.committed:
            raise Refused(ReplyCode.STALE_ROUND, f"round {self._ballot.committed} is committed here")
        if outcome.round == self._model.round and _same(self._model, outcome):
            return
        self._check_follows(outcome)
        digests = Digests(outcome.model, outcome.state)
        data = unseal(self._state_key(), self._roster.agreement, outcome.round, digests, sealed)
        try:
            model = self._first.from_bytes(data)
        except SharedModelError as error:
            raise Refused(ReplyCode.STATE_REFUSED, str(error)) from error
        if not _same(model, outcome):
            raise Refused(ReplyCode.STATE_REFUSED, "the state is not the one that the gates have signed")
        self._write(_COMMITTED, _About(round=outcome.round, model=outcome.model, state=outcome.state), sealed)
        self._ballot.commit(outcome.round, outcome.model)
        self._model, self._applied, self._next, self.counted = model, None, None, 0

    def _check_follows(self, outcome: Outcome) -> None:
        """What is committed here stays in the model: a server that withheld it from the others cannot undo it."""
        if outcome.base < self._ballot.committed < outcome.round:
            why = f"round {outcome.round} starts from {outcome.base}, but {self._ballot.committed} is committed here"
            raise Refused(ReplyCode.STALE_ROUND, why)

    def propose(self, candidate: Candidate, applied: Applied, own: bool) -> None:
        """Keep the candidate and what this gate says of it; on return it may be said. `own`: its update is in it."""
        digests = candidate.digests
        sealed = seal(self._state_key(), self._roster.agreement, candidate.round, digests, candidate.to_bytes())
        about = _About(round=candidate.round, model=digests.model, state=digests.state, applied=applied)
        about = about.model_copy(update={"counted": candidate.round if own else self.counted})
        self._write(_CANDIDATE, about, sealed)
        self._next = (about, candidate)

    def said(self, round: int, list_digest: str, sum_digest: str) -> Applied | None:
        """What this gate has said of this very sum: of its candidate, or of the round that is committed since."""
        asked = (round, list_digest, sum_digest)
        for applied in (self._applied, self._next[0].applied if self._next is not None else None):
            if applied is not None and (applied.round, applied.list_digest, applied.sum_digest) == asked:
                return applied
        return None

    def sealed(self, applied: Applied) -> bytes:
        """The state that `applied` speaks of, as it lies on disk. Raises Refused(STATE_MISSING)."""
        about, sealed = self._on_disk(_COMMITTED if applied == self._applied else _CANDIDATE)
        if about.applied != applied:
            raise Refused(ReplyCode.STATE_MISSING, "the sealed state is of another round")
        return sealed

    def sealed_after(self, commit: Commit) -> bytes:
        """The state that enough gates agree on, which this one commits. Raises Refused(STATE_MISSING), and as `absorb`.

        Also from a gate that was itself restored.
        """
        self.absorb(commit)
        one = commit.applied[0]
        about, sealed = self._on_disk(_COMMITTED)
        if (about.round, about.model, about.state) != (commit.round, one.model, one.state):
            raise Refused(ReplyCode.STATE_MISSING, f"the state after round {commit.round} is not here")
        return sealed

    def _on_disk(self, name: str) -> tuple[_About, bytes]:
        try:
            return _split((self._directory / name).read_bytes())
        except (OSError, ValueError) as error:
            raise Refused(ReplyCode.STATE_MISSING, "the sealed state cannot be read") from error

    def _advance(self) -> None:
        assert self._next is not None
        about, chosen = self._next
        (self._directory / _CANDIDATE).replace(self._directory / _COMMITTED)
        if isinstance(chosen, Candidate):
            self._model.commit(chosen)
        else:
            self._model = chosen
        self._applied, self._next, self.counted = about.applied, None, about.counted

    def _write(self, name: str, about: _About, sealed: bytes | memoryview) -> None:
        head = about.model_dump_json().encode()
        # No fsync: a state that a power cut has torn does not unseal, and another gate's is asked for.
        with replacing(self._directory / name) as file:
            file.write(_HEAD.pack(len(head)) + head)
            file.write(sealed)

    def _read(self, name: str) -> tuple[_About, SharedModel] | None:
        """None when there is none, or what there is cannot be used: then this gate is restored."""
        try:
            about, sealed = _split((self._directory / name).read_bytes())
            digests = Digests(about.model, about.state)
            data = unseal(self._state_key(), self._roster.agreement, about.round, digests, sealed)
            model = self._first.from_bytes(data)
        except FileNotFoundError:
            return None
        except (ValueError, Refused, SharedModelError) as error:
            log.error("%s is of no use: %s", name, error)
            return None
        return (about, model) if (model.round, model.digests) == (about.round, digests) else None


def _split(data: bytes) -> tuple[_About, bytes]:
    """Raises ValueError for what `_write` has not written whole."""
    try:
        (size,) = _HEAD.unpack_from(data)
        if size > _HEAD_LIMIT:
            raise ValueError("the head is too long")
        return _About.model_validate_json(data[_HEAD.size : _HEAD.size + size]), data[_HEAD.size + size :]
    except (struct.error, ValidationError) as error:
        raise ValueError("the file is not whole") from error


def _same(model: Candidate | SharedModel, outcome: Outcome) -> bool:
    return model.round == outcome.round and model.digests == Digests(outcome.model, outcome.state)
