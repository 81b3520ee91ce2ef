"""From a decided list to a committed model: gates vote for the list, some recompute its sum, all apply it.

Used by the encrypted round loop. Nothing is decided here that the gates do not check themselves; the server finds out
early whether they will agree, and replaces who dies on the way.

RoundVoid      the round brings no model; carries the reason and who stands for it
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from hanse.api.conditions import Reason
from hanse.api.encryption import Half
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import checks, messages
from hanse.runtime.agreement.checks import Outcome
from hanse.runtime.agreement.messages import ApplyReply, ApplyRequest, Commit, VerifyReply, VerifyRequest
from hanse.runtime.agreement.statements import Applied, Contribution, Vote, digest_of, list_digest
from hanse.runtime.flower.rounds_fleet import Question
from hanse.runtime.flower.rounds_keys import Keys
from hanse.runtime.flower.rounds_relay import PASSING, Relay, bytes_of, question, signed_by
from hanse.runtime.flower.rounds_verifying import Verifying
from hanse.runtime.he import split_total
from hanse.runtime.refused import Refused

_PAUSE_SECONDS: Final = 1.0


class RoundVoid(Exception):
    """The round brings no model; `reasons` says by name whom it is about, `spoiled` whose sum was none."""

    def __init__(self, text: str, reasons: Mapping[str, Reason], spoiled: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.reasons = dict(reasons)
        self.spoiled = list(spoiled)


@dataclass
class Round:
    """A round whose list is decided, and with it its sum."""

    relay: Relay
    keys: Keys
    number: int
    #: The committed round that it starts from.
    base: int
    contributions: list[Contribution]
    verifying: Verifying
    #: The sum that the server has computed itself; waits for it.
    total: Callable[[], bytes]
    votes: dict[int, Vote] = field(default_factory=dict)
    applied: dict[int, Applied] = field(default_factory=dict)
    #: Why a gate will never agree to this round.
    refused: dict[int, Reason] = field(default_factory=dict)
    sealed: bytes | None = None
    sealed_by: int | None = None

    def __post_init__(self) -> None:
        self._list = list_digest(self.contributions)
        names = self.relay.roster.names
        start = 2 * (self.number - 1) * self.relay.plan.verifiers % len(names)
        #: Whom to ask for work next: another order each round; who fails goes to the end.
        self._order = [self.relay.index(name) for name in (*names[start:], *names[:start])]

    @cached_property
    def _sum(self) -> str:
        return digest_of(self.total())

    @cached_property
    def _sums(self) -> dict[Half, str]:
        cut = split_total(self.relay.plan.scheme, self.total(), self.verifying.points)
        return {half: digest_of(data) for half, data in cut.items()}

    # -- verify

    def verify(self) -> None:
        """Collect enough votes and recomputed sums of both halves. Raises RoundVoid."""
        plan, verifying = self.relay.plan, self.verifying
        started = self.relay.clock.monotonic()
        tried: set[tuple[int, Half]] = set()
        look = False
        while True:
            here, look = self.keys.here(plan.votes, look=look), True
            adders = verifying.choose([i for i in self._order if i in here and i not in self.refused])
            fresh = bool(adders.items() - tried)
            tried |= adders.items()
            came = self._ask_votes(here, adders)
            if len(self.votes) >= plan.votes and verifying.done:
                # Who has no vote, having begun in this round, may apply what the others have voted for.
                self.refused = {i: r for i, r in self.refused.items() if r is not Reason.SECOND_SUM}
                return
            self._check_hope("votes for the list", len(self.votes) + len(self.refused))
            if not came:
                self._check_halves(self.relay.clock.monotonic() - started)
            if not came and not fresh:
                self._check_voteless(here)
                self._wait(f"round {self.number}: {len(self.votes)} votes, {verifying.told}", self.votes)

    def _ask_votes(self, here: list[int], adders: Mapping[int, Half]) -> bool:
        request = VerifyRequest(round=self.number, contributions=self.contributions)
        due = [i for i in here if i not in self.votes and i not in self.refused]
        questions = dict.fromkeys(due, question(messages.VERIFY, self.number, request)) | self.verifying.questions(
            request, adders
        )
        if not questions:
            return False
        replies, failures = self.relay.exchange(questions, VerifyReply, self._check_vote)
        for index, reply in replies.items():
            self.votes[index] = reply.vote
            if reply.recomputed is not None:
                self.verifying.recomputed[reply.recomputed.half][index] = reply.recomputed
        self._sort_out(failures)
        for index, half in adders.items():
            if index not in self.verifying.recomputed[half]:
                self._order.remove(index)
                self._order.append(index)
        return bool(replies)

    def _check_vote(self, reply: VerifyReply, name: str) -> None:
        roster, number = self.relay.roster, self.number
        signed_by(name, reply.vote.participant)
        checks.check_vote(reply.vote, roster=roster, round=number, list_digest=self._list)
        if (one := reply.recomputed) is None:
            return
        signed_by(name, one.participant)
        roster.verify(one)
        if (one.round, one.list_digest, one.sum_digest) != (number, self._list, self._sums[one.half]):
            raise Refused(ReplyCode.SUM_REFUSED, f"{name} has computed another sum")

    # -- apply

    def apply(self, *, seal: bool) -> Commit:
        """All apply the sum; what enough of them made alike is the round's. With `seal` one of them uploads its state.

        Raises RoundVoid.
        """
        look = False
        while True:
            here, look = self.keys.here(self.relay.plan.votes, look=look), True
            sealer = self._next_sealer(here) if seal and self.sealed is None else None
            came = self._ask_applied([i for i in here if i not in self.applied], sealer)
            agreed = self._agreed()
            self._check_alike(agreed)
            if len(agreed) >= self.relay.plan.votes:
                if seal:
                    self.seal()
                return self._commit(agreed)
            self._check_hope("equal models", len(self.applied) + len(self.refused))
            if not came:
                self._wait(f"round {self.number}: {len(agreed)} applied it", self.applied)

    def _ask_applied(self, to: list[int], sealer: int | None) -> bool:
        request = ApplyRequest(
            round=self.number,
            contributions=self.contributions,
            votes=list(self.votes.values()),
            recomputed=self.verifying.words,
        )
        asked = [i for i in to if i not in self.refused]
        plain = self._with_sum(request)
        sealing = plain if sealer is None else self._with_sum(request.model_copy(update={"seal": True}))
        failures: dict[int, Reason] = {}
        came = False
        for index, answer in self.relay.ask({i: sealing if i == sealer else plain for i in asked}).items():
            found = self.relay.read(index, answer, ApplyReply, self._check_applied)
            if isinstance(found, Reason):
                failures[index] = found
                continue
            came = True
            self.applied[index] = found.applied
            if index == sealer and (sealed := bytes_of(answer, messages.SEALED)) is not None:
                self.sealed, self.sealed_by = sealed.tobytes(), index
        self.relay.note(failures, self.applied)
        self._sort_out(failures)
        return came

    def _with_sum(self, request: ApplyRequest) -> Question:
        return question(messages.APPLY, self.number, request, record=messages.SUM, arrays={messages.SUM: self.total()})

    def _check_applied(self, reply: ApplyReply, name: str) -> None:
        one = reply.applied
        signed_by(name, one.participant)
        self.relay.roster.verify(one)
        if (one.round, one.base) != (self.number, self.base):
            raise Refused(ReplyCode.STALE_ROUND, f"{name} speaks of round {one.round} after {one.base}")
        if (one.list_digest, one.sum_digest) != (self._list, self._sum):
            raise Refused(ReplyCode.SECOND_SUM, f"{name} has applied another sum")

    def _agreed(self) -> list[int]:
        """The largest group that has made the same model."""
        groups = Counter(Outcome.of(one) for one in self.applied.values()).most_common(1)
        return [i for i, one in self.applied.items() if Outcome.of(one) == groups[0][0]]

    def _check_alike(self, agreed: list[int]) -> None:
        """A model that differs voids the round, unless as few differ as the plan says may lie."""
        odd = [i for i in self.applied if i not in agreed]
        if len(odd) > self.relay.plan.collusion_threshold:
            most = agreed if len(agreed) > len(odd) else []
            named = self.relay.gathering.names(set(self.applied) - set(most))
            reasons = dict.fromkeys(named, Reason.MODEL_MISMATCH)
            raise RoundVoid(f"round {self.number} is void: the models of {', '.join(named[:5])} differ", reasons)
        self.relay.note(dict.fromkeys(odd, Reason.MODEL_MISMATCH), [])

    def _commit(self, agreed: list[int]) -> Commit:
        # Who made another model must be given this one.
        self.keys.drop((i, Reason.STATE_MISSING) for i in self.applied if i not in agreed)
        by_name = {self.applied[i].participant: self.applied[i] for i in agreed}
        names = self.relay.roster.names
        return Commit(round=self.number, applied=[by_name[name] for name in names if name in by_name])

    # -- seal

    def _next_sealer(self, here: list[int]) -> int | None:
        """Verifiers have worked already: whoever comes after them."""
        count = 2 * self.relay.plan.verifiers
        order = [*self._order[count:], *self._order[:count]]
        return next((i for i in order if i in here and i not in self.refused), None)

    def seal(self) -> None:
        """Have the state after this round sealed: who was asked before may have died, or have made another model."""
        before, agreed = self.sealed_by, self._agreed()
        if before in agreed:
            return
        self.sealed, self.sealed_by = None, None
        for index in [i for i in self._order if i in agreed and i != before and i in self.keys.ready]:
            mine = self.applied[index]
            self._ask_applied([index], index)
            self.applied[index] = mine
            if self.sealed is not None:
                return

    # -- both

    def _sort_out(self, failures: Mapping[int, Reason]) -> None:
        self.keys.drop(failures.items())
        self.refused.update({i: reason for i, reason in failures.items() if reason not in PASSING})

    def _check_halves(self, waited: float) -> None:
        """Who has had one half does not get the other: when too few others are left or come back, no waiting helps."""
        possible = self.verifying.possible(set(self._order) - self.refused.keys())
        patient = waited < self.relay.config.start_timeout_seconds or len(self.votes) < self.relay.plan.votes
        if possible and (patient or self.verifying.done):
            return
        why = f"{self.verifying.told}, and too few gates are left that may add up more"
        raise RoundVoid(f"round {self.number} is void: {why}", self._reasons)

    def _check_voteless(self, here: Collection[int]) -> None:
        """A quorum is here, and of it have no vote in this round those that began in it: they have one in the next."""
        done = self.votes.keys() | self.refused.keys()
        if Reason.SECOND_SUM in self.refused.values() and len(here) >= self.relay.plan.quorum and done.issuperset(here):
            why = f"{len(self.votes)} votes, {self.verifying.told}, and who is here besides has no vote in it"
            raise RoundVoid(f"round {self.number} is void: {why}", self._reasons)

    def _check_hope(self, what: str, answered: int) -> None:
        """When too many refuse for good, no waiting helps."""
        plan, total = self.relay.plan, len(self.relay.roster)
        if total - len(self.refused) >= max(plan.votes, plan.verifiers):
            return
        reasons = self._reasons
        told = ", ".join(f"{name} {reason}" for name, reason in list(reasons.items())[:5])
        if len(self.votes) >= plan.votes and set(reasons.values()) == {Reason.SUM_REFUSED}:
            # The list was fine and so is the sum: nobody can say which of the updates was made up.
            names = [one.participant for one in self.contributions]
            text = f"round {self.number} is void, its sum is none: {told}"
            raise RoundVoid(f"{text}; one of the updates of {', '.join(names[:5])} is ill-made", reasons, names)
        raise RoundVoid(f"round {self.number} is void, {answered} answers bring too few {what}: {told}", reasons)

    @property
    def _reasons(self) -> dict[str, Reason]:
        return {self.relay.name(index): reason for index, reason in self.refused.items()}

    def _wait(self, told: str, done: Mapping[int, object]) -> None:
        gathering = self.relay.gathering
        gathering.short(told, gathering.everyone - frozenset(done))
        self.relay.clock.sleep(_PAUSE_SECONDS)
