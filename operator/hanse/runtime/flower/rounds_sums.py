"""The encrypted updates of one round: each is checked and added when it comes. Used by the encrypted round loop.

The adder runs in a worker process without secrets (`hanse.runtime.he.UploadSum`). The gates check all of this again:
the server's checks are there so that one bad update does not cost the round.
"""

from dataclasses import dataclass, field
from typing import Protocol

from hanse.api.conditions import Reason
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import checks, messages
from hanse.runtime.agreement.messages import TrainReply
from hanse.runtime.agreement.statements import Contribution, digest_of
from hanse.runtime.flower.rounds_encrypted_state import Pending
from hanse.runtime.flower.rounds_fleet import Answer
from hanse.runtime.flower.rounds_relay import Relay, bytes_of, signed_by
from hanse.runtime.flower.rounds_updates import metric_refusal
from hanse.runtime.he import CiphertextInvalid, Halves, TooManyCiphertexts, split_upload
from hanse.runtime.refused import Refused


class Adder(Protocol):
    """`hanse.runtime.he.UploadSum`, as far as the loop uses it."""

    def add(self, upload: Halves) -> None: ...

    def total(self) -> bytes: ...


@dataclass
class RoundSum:
    """One round's updates, by participant's index."""

    relay: Relay
    adder: Adder
    number: int
    #: Integers in an update.
    points: int
    fingerprint: str
    #: Digest of the model that they must start from.
    base: str
    #: Digest of what their apps are told beside it.
    asked: str
    #: The list that was decided before this server started; nothing else is taken then.
    decided: Pending | None = None
    contributions: dict[int, Contribution] = field(default_factory=dict)
    #: Uploads by participant's name, cut once for the adder and the verifiers.
    halves: dict[str, Halves] = field(default_factory=dict)
    failures: dict[int, Reason] = field(default_factory=dict)
    #: Bytes of the updates that are in the sum.
    sent: int = 0

    def seen(self, index: int, answer: Answer) -> None:
        """Take an answer when it comes."""
        if index in self.contributions:
            return
        found = self._take(index, answer)
        if isinstance(found, Reason):
            self.failures[index] = found
        else:
            self.contributions[index] = found
            self.failures.pop(index, None)

    @property
    def names(self) -> list[str]:
        """Whose updates are in the sum, in the roster's order."""
        return [one.participant for one in self.listed]

    @property
    def listed(self) -> list[Contribution]:
        """The contributions in the roster's order."""
        by_name = {one.participant: one for one in self.contributions.values()}
        return [by_name[name] for name in self.relay.roster.names if name in by_name]

    def _take(self, index: int, answer: Answer) -> Contribution | Reason:
        if answer.failure is None and (refusal := metric_refusal(answer)) is not None:
            return refusal
        reply = self.relay.read(index, answer, TrainReply, self._check)
        if isinstance(reply, Reason):
            return reply
        array = bytes_of(answer, messages.CIPHERTEXT)
        if array is None:
            return Reason.UPDATE_MISMATCH
        one, data = reply.contribution, array.tobytes()
        if digest_of(data) != one.digest or not self._wanted(one):
            return Reason.CIPHERTEXT_INVALID
        try:
            halves = split_upload(self.relay.plan.scheme, data, self.points)
            if any(digest_of(halves[half]) != one.half(half) for half in halves):
                return Reason.CIPHERTEXT_INVALID
            self.adder.add(halves)
        except (CiphertextInvalid, TooManyCiphertexts):
            return Reason.CIPHERTEXT_INVALID
        self.halves[one.participant] = halves
        self.sent += len(data)
        return one

    def _check(self, reply: TrainReply, name: str) -> None:
        one = reply.contribution
        signed_by(name, one.participant)
        checks.check_contribution(
            one, roster=self.relay.roster, round=self.number, fingerprint=self.fingerprint, base=self.base
        )
        if one.asked != self.asked:
            raise Refused(ReplyCode.SUM_REFUSED, f"{name} says that it was asked something else")

    def _wanted(self, one: Contribution) -> bool:
        if self.decided is not None:
            return one in self.decided.contributions
        taken = {digest for other in self.contributions.values() for digest in (other.digest, other.bodies)}
        return taken.isdisjoint((one.digest, one.bodies))
