"""Who may sign, and signing: the roster of a job with its pinned identities, and one participant's own signer.

Used by gates (both) and the server (`Roster`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from hanse.api.encryption import EncryptionPlan, Half, ModelRelease, RosterMember
from hanse.api.replies import ReplyCode
from hanse.pki.identity import sign, verifies
from hanse.runtime.agreement.statements import (
    Applied,
    Confirmation,
    Contribution,
    Envelope,
    KeyStatement,
    Prekey,
    Recomputed,
    Release,
    Statement,
    Vote,
    signed_bytes,
)
from hanse.runtime.refused import Refused

S = TypeVar("S", bound=Statement)


class Roster:
    """The participants of one job. Raises ValueError for a plan that names somebody twice, or one owner twice.

    Votes are counted by participant, so an owner with two of them would have two.
    """

    def __init__(self, plan: EncryptionPlan, job_uid: str) -> None:
        self.plan = plan
        self.agreement = plan.agreement(job_uid)
        self._members = {member.name: member for member in plan.roster}
        if len(self._members) != len(plan.roster):
            raise ValueError("the roster names a participant twice")
        owners: dict[str, str] = {}
        for member in plan.roster:
            if (other := owners.setdefault(member.identity, member.name)) != member.name:
                raise ValueError(f"{other} and {member.name} have one identity: an owner counts once")
        if plan.key_maker not in self._members:
            raise ValueError("the maker of the key is not in the roster")

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    @property
    def names(self) -> tuple[str, ...]:
        """In the plan's order."""
        return tuple(self._members)

    def member(self, name: str) -> RosterMember:
        """Raises Refused(SIGNATURE_INVALID) for a stranger."""
        member = self._members.get(name)
        if member is None:
            raise Refused(ReplyCode.SIGNATURE_INVALID, f"{name} is no participant of this job")
        return member

    def verify(self, statement: Statement) -> None:
        """The statement is of this job and signed by whom it names.

        Raises Refused(SIGNATURE_INVALID): a stranger, another job or plan, another key.
        """
        member, kind = self.member(statement.signer), statement.KIND
        if statement.agreement != self.agreement:
            raise Refused(ReplyCode.SIGNATURE_INVALID, f"{kind} of {member.name} is for another job or plan")
        if not verifies(member.identity, statement.signature, statement.message()):
            raise Refused(ReplyCode.SIGNATURE_INVALID, f"{kind} of {member.name} is not signed by {member.name}")

    def verify_each(self, statements: Sequence[Statement]) -> None:
        """No more statements than participants, each verified, one at most for a signer.

        Raises Refused(SIGNATURE_INVALID or SUM_REFUSED: one signer twice).
        """
        if len(statements) > len(self):
            why = f"{len(statements)} statements, but the job has {len(self)} participants"
            raise Refused(ReplyCode.SUM_REFUSED, why)
        seen: set[str] = set()
        for statement in statements:
            name = self.member(statement.signer).name
            if name in seen:
                raise Refused(ReplyCode.SUM_REFUSED, f"{name} stands twice in a list of {statement.KIND} statements")
            seen.add(name)
            self.verify(statement)


class Signer:
    """One participant's signatures under one agreement; `private` is the owner's identity key, PEM (Ed25519)."""

    def __init__(self, private: str, participant: str, agreement: str) -> None:
        self.participant = participant
        self.agreement = agreement
        self._private = private

    def __repr__(self) -> str:
        return f"Signer({self.participant})"

    def prekey(self, public: str) -> Prekey:
        """`public` is an X25519 public key, base64 (see `wrapping.new_prekey`)."""
        return self._sign(Prekey, participant=self.participant, public=public)

    def key(self, epoch: int, fingerprint: str) -> KeyStatement:
        """By the maker."""
        return self._sign(KeyStatement, maker=self.participant, epoch=epoch, fingerprint=fingerprint)

    def envelope(self, epoch: int, recipient: str, prekey: str, fingerprint: str, sealed: str) -> Envelope:
        """See `wrapping.wrap`."""
        fields = {"epoch": epoch, "recipient": recipient, "prekey": prekey, "fingerprint": fingerprint}
        return self._sign(Envelope, sender=self.participant, sealed=sealed, **fields)

    def confirmation(self, epoch: int, fingerprint: str, *, prekeys: str, newest: int) -> Confirmation:
        """The key is held; the gates of `prekeys` (a `prekeys_digest`) learn how far this one is: `Ballot.newest`."""
        fields = {"epoch": epoch, "fingerprint": fingerprint, "prekeys": prekeys, "newest": newest}
        return self._sign(Confirmation, participant=self.participant, **fields)

    def contribution(
        self,
        *,
        epoch: int,
        fingerprint: str,
        round: int,
        attempt: int,
        scale: str,
        digest: str,
        halves: Mapping[Half, str],
        base: str,
        asked: str,
    ) -> Contribution:
        """One encrypted update; `halves` are the digests of its two."""
        fields = {"epoch": epoch, "round": round, "attempt": attempt}
        return self._sign(
            Contribution,
            participant=self.participant,
            fingerprint=fingerprint,
            scale=scale,
            digest=digest,
            bodies=halves["Bodies"],
            seeds=halves["Seeds"],
            base=base,
            asked=asked,
            **fields,
        )

    def vote(self, round: int, list_digest: str) -> Vote:
        """Only after `Ballot.vote`."""
        return self._sign(Vote, participant=self.participant, round=round, list_digest=list_digest)

    def recomputed(self, round: int, list_digest: str, half: Half, sum_digest: str) -> Recomputed:
        """These halves of the ciphertexts were hashed and added here."""
        fields = {"list_digest": list_digest, "half": half, "sum_digest": sum_digest}
        return self._sign(Recomputed, participant=self.participant, round=round, **fields)

    def applied(self, *, round: int, base: int, list_digest: str, sum_digest: str, model: str, state: str) -> Applied:
        """Only after `Ballot.decide`."""
        fields = {"list_digest": list_digest, "sum_digest": sum_digest, "model": model, "state": state}
        return self._sign(Applied, participant=self.participant, round=round, base=base, **fields)

    def release(self, round: int, model: str, to: ModelRelease) -> Release:
        """The model may go."""
        return self._sign(Release, participant=self.participant, round=round, model=model, to=to)

    def _sign(self, kind: type[S], /, **content: Any) -> S:
        content["agreement"] = self.agreement
        return kind(signature=sign(self._private, signed_bytes(kind.KIND, content)), **content)
