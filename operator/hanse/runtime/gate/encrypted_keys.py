"""The job's key in one gate: made or received, confirmed, passed on to another gate. Used by `encrypted`.

It lies in this process' memory and in a file (0600) of a directory that only the gate's container has; the prekey lies
in memory alone, so a key that was wrapped for a gate that is gone opens nowhere. Order at every step: the file, the
ballot, the reply. A gate that has confirmed a key and lost it takes the same one again and no other.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError

from hanse.api.replies import ReplyCode
from hanse.runtime.agreement.ballot import Ballot
from hanse.runtime.agreement.checks import check_begin, check_key, check_key_statement, check_prekeys
from hanse.runtime.agreement.roster import Roster, Signer
from hanse.runtime.agreement.sealing import state_key
from hanse.runtime.agreement.statements import Confirmation, Envelope, KeyStatement, Prekey, Strict, prekeys_digest
from hanse.runtime.agreement.wrapping import new_prekey, unwrap, wrap
from hanse.runtime.durable import replace_file, sync_directory
from hanse.runtime.gate.refused import Refused
from hanse.runtime.he import Cipher, fingerprint

_KEY: Final = "job-key"
_ABOUT: Final = "job-key.json"
#: A maker makes one key, so there is one epoch.
_EPOCH: Final = 1


class _About(Strict):
    """What is said of the key; `confirmed` once a quorum is known to hold it."""

    statement: KeyStatement
    confirmed: Annotated[bool, Field()] = False


class JobKey:
    """The key of one job in one gate process. `keygen` is the engine's, `cipher` makes the workers of a key."""

    def __init__(
        self,
        directory: Path,
        roster: Roster,
        signer: Signer,
        ballot: Ballot,
        keygen: Callable[[], bytes],
        cipher: Callable[[bytes], Cipher],
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._roster, self._signer, self._ballot = roster, signer, ballot
        self._keygen, self._new_cipher = keygen, cipher
        self._pair = new_prekey()
        self._key: bytes | None = None
        self._about: _About | None = None
        self._cipher: Cipher | None = None
        self._load()

    @property
    def prekey(self) -> Prekey:
        """This process' own, signed."""
        return self._signer.prekey(self._pair.public)

    @property
    def held(self) -> bool:
        """Whether this gate has the key."""
        return self._key is not None

    @property
    def epoch(self) -> int:
        """0 without a key."""
        return 0 if self._about is None else self._about.statement.epoch

    @property
    def fingerprint(self) -> str:
        """ "" without a key."""
        return "" if self._about is None else self._about.statement.fingerprint

    @property
    def state_key(self) -> bytes:
        """What states are sealed under. Raises Refused(KEY_NOT_HELD)."""
        return state_key(self._held()[0])

    @property
    def begun(self) -> bool:
        """Whether a quorum has said to this gate that it holds the key, and how far it is."""
        return self._about is not None and self._about.confirmed

    def check_begun(self) -> None:
        """Before any part in a round. Raises Refused(KEY_NOT_HELD)."""
        self._held()
        if not self.begun:
            raise Refused(ReplyCode.KEY_NOT_HELD, "no quorum is known to hold the key")

    def cipher(self) -> Cipher:
        """Encrypts and decrypts under the key. Raises Refused(KEY_NOT_HELD) before a quorum is known to hold it."""
        key, _ = self._held()
        self.check_begun()
        if self._cipher is None:
            self._cipher = self._new_cipher(key)
        return self._cipher

    def close(self) -> None:
        """End the workers."""
        if self._cipher is not None:
            self._cipher.close()
            self._cipher = None

    def wrap(self, recipients: Sequence[Prekey]) -> tuple[KeyStatement, list[Envelope]]:
        """The key for other gates; the maker makes it, once. Raises Refused."""
        check_prekeys(recipients, self._roster)
        if self._key is None:
            self._make()
        key, about = self._held()
        statement = about.statement
        self._ballot.confirm(statement.epoch, statement.fingerprint)
        return statement, [
            wrap(key, one, epoch=statement.epoch, fingerprint=statement.fingerprint, signer=self._signer)
            for one in recipients
        ]

    def join(self, statement: KeyStatement, envelope: Envelope | None, prekeys: Sequence[Prekey]) -> Confirmation:
        """Take the key out of an envelope, or say again that it is held: to the gates of `prekeys`. Raises Refused."""
        known = self.fingerprint or self._ballot.fingerprint
        if self._key is None:
            if envelope is None:
                raise Refused(ReplyCode.KEY_NOT_HELD, "this gate does not hold the job's key")
            me, prekey = self._signer.participant, self._pair.public
            check_key(statement, envelope, roster=self._roster, me=me, prekey=prekey, known=known)
            self._keep(unwrap(envelope, self._pair, fingerprint), statement)
        else:
            check_key_statement(statement, roster=self._roster, known=known)
        return self._confirmation(prekeys)

    def confirmed(self, confirmations: Sequence[Confirmation], prekeys: Sequence[Prekey]) -> Confirmation:
        """A quorum, this gate among it, holds the same key, and says to this process how far it is. Raises Refused."""
        _, about = self._held()
        own = self._confirmation(prekeys)
        if not about.confirmed:
            after = check_begin(
                [own, *(one for one in confirmations if one.participant != own.participant)],
                prekeys,
                roster=self._roster,
                prekey=self._pair.public,
                epoch=about.statement.epoch,
                fingerprint=about.statement.fingerprint,
            )
            self._ballot.begin(after)
            self._note(about.model_copy(update={"confirmed": True}))
        return own

    def _confirmation(self, prekeys: Sequence[Prekey]) -> Confirmation:
        _, about = self._held()
        epoch, fingerprint = about.statement.epoch, about.statement.fingerprint
        self._ballot.confirm(epoch, fingerprint)
        shown, newest = prekeys_digest(prekeys), self._ballot.newest
        return self._signer.confirmation(epoch, fingerprint, prekeys=shown, newest=newest)

    def _held(self) -> tuple[bytes, _About]:
        if self._key is None or self._about is None:
            raise Refused(ReplyCode.KEY_NOT_HELD, "this gate does not hold the job's key")
        return self._key, self._about

    def _make(self) -> None:
        if self._roster.plan.key_maker != self._signer.participant:
            raise Refused(ReplyCode.KEY_NOT_HELD, "this gate does not hold the job's key, and does not make it")
        if self._ballot.fingerprint is not None:
            raise Refused(ReplyCode.KEY_NOT_HELD, "this gate has made a key before; another holder may wrap it")
        key = self._keygen()
        self._keep(key, self._signer.key(_EPOCH, fingerprint(key)))

    def _keep(self, key: bytes, statement: KeyStatement) -> None:
        _write_secret(self._directory / _KEY, key)
        self._note(_About(statement=statement))
        self._key = key

    def _note(self, about: _About) -> None:
        replace_file(self._directory / _ABOUT, about.model_dump_json().encode())
        self._about = about

    def _load(self) -> None:
        """What a gate before this one has kept; a key that is not the stated one is none."""
        try:
            key = (self._directory / _KEY).read_bytes()
            about = _About.model_validate_json((self._directory / _ABOUT).read_bytes())
        except (FileNotFoundError, ValidationError):
            return
        statement = about.statement
        known = self._ballot.fingerprint
        try:
            check_key_statement(statement, roster=self._roster, known=known)
        except Refused:
            return
        if fingerprint(key) == statement.fingerprint:
            self._key, self._about = key, about


def _write_secret(path: Path, content: bytes) -> None:
    """As `durable.replace_file`, readable by the gate's user alone from the first byte on."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)
