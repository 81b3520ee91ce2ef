"""A round of an encrypted job in one gate: contribute, vote, recompute, decrypt what is a sum, apply.

Used by `encrypted`. `agreement.checks` says what is enough, the ballot what this gate has done already, `held` what the
model is. Each step is on disk before its reply leaves and gives the same reply when it is asked again.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hanse.api.encryption import Half
from hanse.api.privacy import Unit
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement.ballot import Ballot
from hanse.runtime.agreement.checks import (
    check_ciphertexts,
    check_contributions,
    check_recomputed,
    check_round,
    check_votes,
)
from hanse.runtime.agreement.messages import ApplyRequest, VerifyRequest
from hanse.runtime.agreement.roster import Roster, Signer
from hanse.runtime.agreement.statements import Applied, Contribution, Recomputed, Vote, digest_of, list_digest
from hanse.runtime.codec.layout import Vector
from hanse.runtime.gate.encrypted_keys import JobKey
from hanse.runtime.gate.encrypted_model import HeldModel
from hanse.runtime.gate.encrypted_updates import Codecs, EncryptedUpdates
from hanse.runtime.gate.outbox import Stored
from hanse.runtime.gate.refused import Refused
from hanse.runtime.he import split_total, split_upload

#: The total of halves of ciphertexts of so many points each, computed by a worker process without secrets.
Add = Callable[[Sequence[bytes | memoryview], int, Half], bytes]


@dataclass(frozen=True)
class Rounds:
    """See the module's docstring. `rate` is the step of a mean gradient (unit Record), None elsewhere."""

    roster: Roster
    signer: Signer
    ballot: Ballot
    key: JobKey
    held: HeldModel
    updates: EncryptedUpdates
    codecs: Codecs
    unit: Unit | None
    rate: float | None
    add: Add

    def check(self, number: int) -> None:
        """The round is the plan's and after the committed one. Raises Refused(STALE_ROUND)."""
        check_round(number, plan=self.roster.plan, committed=self.ballot.committed)

    # -- contribute

    def again(self, number: int, asked: str) -> tuple[Contribution, bytes] | None:
        """What left for this round, model and question before, signed again: the same. Raises Refused."""
        stored = self.updates.again(number, self._question(asked))
        return None if stored is None else (self._contribution(number, stored, asked), stored.payload)

    def contribute(self, number: int, asked: str, arrays: Vector) -> tuple[Contribution, bytes]:
        """The app's arrays as a fresh ciphertext: of the update, or (unit Record) of the sum of gradients.

        `asked` is the digest of what the app was told beside the model.
        """
        model = self.held.model
        self.ballot.ask(number)
        update = arrays if self.unit == "Record" else arrays - model.vector()
        stored = self.updates.release(
            number,
            self._question(asked),
            update,
            reach=model.range,
            counted=self.held.counted,
            encrypt=self.key.cipher().encrypt,
        )
        return self._contribution(number, stored, asked), stored.payload

    def _question(self, asked: str) -> str:
        return f"{self.held.model.digests.model} {asked}"

    def _contribution(self, number: int, stored: Stored, asked: str) -> Contribution:
        halves = split_upload(self.roster.plan.scheme, stored.payload, self.points)
        return self.signer.contribution(
            epoch=self.key.epoch,
            fingerprint=self.key.fingerprint,
            round=number,
            attempt=stored.slot.attempt,
            scale=self.roster.member(self.signer.participant).scale,
            digest=stored.digest,
            halves={half: digest_of(data) for half, data in halves.items()},
            base=self.held.model.digests.model,
            asked=asked,
        )

    # -- agree

    def verify(
        self, request: VerifyRequest, ciphertexts: Mapping[str, bytes | memoryview]
    ) -> tuple[Vote, Recomputed | None]:
        """The vote for the list; with one half of all its ciphertexts also their sum, computed here.

        Raises Refused and HeError.
        """
        self.check(request.round)
        self.key.check_begun()
        digest = self._list(request.round, request.contributions)
        if self.updates.lost(request.round):
            # Another gate of this participant was in this round and may have voted; nobody knows for what.
            raise Refused(ReplyCode.SECOND_SUM, "this owner has paid for an update of this round that is not here")
        total = None
        if request.half is not None:
            total = self._add(request, request.half, ciphertexts)
        # Only now: a list with a ciphertext that is none gets no vote, and the round may go on without it.
        self.ballot.vote(request.round, digest)
        vote = self.signer.vote(request.round, digest)
        if request.half is None or total is None:
            return vote, None
        return vote, self.signer.recomputed(request.round, digest, request.half, digest_of(total))

    def _add(self, request: VerifyRequest, half: Half, ciphertexts: Mapping[str, bytes | memoryview]) -> bytes:
        """The sum of one half of the list's ciphertexts; who holds the key does not take the other one too."""
        if self.roster.plan.keeps_halves_apart:
            self.ballot.take(request.round, half)
        check_ciphertexts(request.contributions, half, ciphertexts)
        return self.add([ciphertexts[one.participant] for one in request.contributions], self.points, half)

    def apply(self, request: ApplyRequest, total: bytes | memoryview) -> Applied:
        """Decrypt what enough gates say is the sum of the one list, and apply it. Raises Refused, HeError and others.

        Asked again for the same sum, also when it is committed since, it says the same.
        """
        number, sum_digest = request.round, digest_of(total)
        said = self.held.said(number, list_digest(request.contributions), sum_digest)
        if said is not None:
            return said
        self.check(number)
        digest = self._list(number, request.contributions)
        check_votes(request.votes, roster=self.roster, round=number, list_digest=digest)
        # No name for the halves: they would lie beside the model until it is applied.
        sums = {
            half: digest_of(data) for half, data in split_total(self.roster.plan.scheme, total, self.points).items()
        }
        check_recomputed(request.recomputed, roster=self.roster, round=number, list_digest=digest, sums=sums)
        cipher = self.key.cipher()
        self.ballot.decide(number, digest, sum_digest)
        model, codec = self.held.model, self.codecs.of(number, self.held.model.range)
        names = [one.participant for one in request.contributions]
        mass = math.fsum(float(self.roster.member(name).mass) for name in names)
        mean = codec.mean(cipher.decrypt(number, total, codec.kept), mass)
        candidate = model.apply(number, mean, names, self.rate, amplification=codec.amplification)
        model_digest, state_digest = candidate.digests
        applied = self.signer.applied(
            round=number,
            base=candidate.base,
            list_digest=digest,
            sum_digest=sum_digest,
            model=model_digest,
            state=state_digest,
        )
        self.held.propose(candidate, applied, own=self.signer.participant in names)
        return applied

    @property
    def points(self) -> int:
        """Integers in an update: the same in each round."""
        return self.codecs.of(1, 1.0).kept

    def _list(self, number: int, contributions: Sequence[Contribution]) -> str:
        """Digest of a list that a sum may be made of. Raises Refused."""
        base = self.held.model.digests.model
        try:
            return check_contributions(
                contributions, roster=self.roster, round=number, fingerprint=self.key.fingerprint, base=base
            )
        except Refused as refused:
            if refused.code is ReplyCode.MODEL_MISMATCH and len({one.base for one in contributions}) == 1:
                # All others are elsewhere: this gate has missed a commit.
                raise Refused(ReplyCode.STATE_MISSING, "all updates start from a model that is not here") from refused
            raise
