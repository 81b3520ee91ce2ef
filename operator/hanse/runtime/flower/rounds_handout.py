"""The job's key on its way to the gates: one wraps it, the others join, all sign that they hold it.

Used by `rounds_keys`. Whoever begins is told by a quorum that it holds the key, and how far it is. The server makes no
key and reads none: it carries envelopes and collects what each gate signs.
"""

from dataclasses import dataclass, field

from hanse.api.progress import EncryptionProgress
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import checks, messages
from hanse.runtime.agreement.messages import (
    ConfirmedReply,
    ConfirmedRequest,
    HelloReply,
    JoinReply,
    JoinRequest,
    WrapReply,
    WrapRequest,
)
from hanse.runtime.agreement.statements import Confirmation, Envelope, KeyStatement, Prekey
from hanse.runtime.flower.rounds_encrypted_state import EncryptedState
from hanse.runtime.flower.rounds_fleet import Question
from hanse.runtime.flower.rounds_relay import Relay, question, signed_by
from hanse.runtime.refused import Refused


@dataclass(frozen=True)
class HandOut:
    """What was signed is in `state`, on disk before anything follows from it."""

    relay: Relay
    state: EncryptedState
    #: Names of those that have greeted without the key, and have not joined since.
    keyless: set[str] = field(default_factory=set)

    @property
    def made(self) -> bool:
        """Whether a quorum has confirmed the key: from then on there is no other."""
        return len(self.state.saved.confirmations) >= self.relay.plan.quorum

    @property
    def fingerprint(self) -> str:
        """Of the job's key. Only once it is made."""
        assert self.state.saved.statement is not None
        return self.state.saved.statement.fingerprint

    def report(self) -> None:
        """Who holds the key, for the progress."""
        saved = self.state.saved
        made = self.made and saved.statement is not None
        confirmed = [c.participant for c in saved.confirmations if c.participant not in self.keyless]
        self.relay.reporter.update(
            encryption=EncryptionProgress(
                fingerprint=self.fingerprint if made else "",
                maker=self.relay.plan.key_maker,
                holders=confirmed if made else [],
            )
        )

    def give(self, hellos: dict[int, HelloReply], ready: set[int]) -> set[int]:
        """Give the key to who greets without it; who holds it then, and knows that a quorum does.

        `ready` are others that hold it.
        """
        saved = self.state.saved
        if not self.made and len(hellos) == len(self.relay.roster) and not any(h.fingerprint for h in hellos.values()):
            # Lost before a quorum had it: the maker makes another one, and nobody has encrypted anything.
            saved.statement, saved.confirmations = None, []
        known = None if saved.statement is None else saved.statement.fingerprint
        holders = {i for i, h in hellos.items() if h.fingerprint and h.fingerprint == known}
        joiners = [i for i in hellos if i not in holders]
        self.keyless.update(self.relay.name(i) for i, h in hellos.items() if not h.fingerprint)
        envelopes = self._wrap(hellos, holders | ready, joiners) if joiners else {}
        prekeys = [h.prekey for h in hellos.values() if not h.confirmed]
        unheard = {self.relay.name(i) for i in hellos} - {c.participant for c in saved.confirmations}
        if saved.statement is not None and (prekeys or unheard):
            holders |= self._join(saved.statement, envelopes, holders | ready, prekeys)
        self.keyless.difference_update(self.relay.name(i) for i in holders)
        told = self._confirm(holders & hellos.keys(), prekeys) if self.made else set()
        self.report()
        return told

    def _confirm(self, holders: set[int], prekeys: list[Prekey]) -> set[int]:
        """Tell them who holds the key; who has enough words of it."""
        message = ConfirmedRequest(confirmations=self.state.saved.confirmations, prekeys=prekeys)
        request = dict.fromkeys(sorted(holders), question(messages.CONFIRMED, 0, message))
        return set(self.relay.exchange(request, ConfirmedReply, self._check_confirmed)[0])

    def _sources(self, hellos: dict[int, HelloReply], holders: set[int]) -> list[int]:
        """Whom to ask for envelopes, one after the other; the maker makes the key once a quorum is there.

        Who holds it comes first: a maker that was replaced before all had joined would make another one.
        """
        maker = self.relay.index(self.relay.plan.key_maker)
        holding = holders | {i for i, h in hellos.items() if h.fingerprint}
        sources = sorted(holding, key=lambda index: (index != maker, index))
        makes = not self.made and maker in hellos and len(hellos) >= self.relay.plan.quorum
        return [*sources, maker] if makes and maker not in holding else sources

    def _wrap(self, hellos: dict[int, HelloReply], holders: set[int], joiners: list[int]) -> dict[int, Envelope]:
        """The key for each of `joiners`, from the first gate that gives it; what the maker says of it is kept."""
        for source in self._sources(hellos, holders):
            statement, envelopes = self._wrap_by(source, hellos, joiners)
            if statement is None:
                continue
            if self.state.saved.statement != statement:
                self.state.saved.statement = statement
                # Durable before anybody joins: a new server must not take another key for the job's.
                self.state.save()
            return envelopes
        return {}

    def _wrap_by(
        self, source: int, hellos: dict[int, HelloReply], joiners: list[int]
    ) -> tuple[KeyStatement | None, dict[int, Envelope]]:
        statement: KeyStatement | None = None
        envelopes: dict[int, Envelope] = {}
        for start in range(0, len(joiners), messages.MOST_ENVELOPES):
            group = joiners[start : start + messages.MOST_ENVELOPES]
            request = WrapRequest(recipients=[hellos[i].prekey for i in group])
            replies, _ = self.relay.exchange(
                {source: question(messages.WRAP, 0, request)}, WrapReply, self._check_wrapped
            )
            if source not in replies or statement not in (None, replies[source].statement):
                return None, {}
            statement = replies[source].statement
            envelopes |= {self.relay.index(e.recipient): e for e in replies[source].envelopes}
        return statement, {i: e for i, e in envelopes.items() if i in joiners}

    def _check_wrapped(self, reply: WrapReply, name: str) -> None:
        saved, roster = self.state.saved, self.relay.roster
        # Before anybody has confirmed it a maker that lost its key may make another one.
        known = saved.statement.fingerprint if saved.statement is not None and saved.confirmations else None
        checks.check_key_statement(reply.statement, roster=roster, known=known)
        for envelope in reply.envelopes:
            signed_by(name, envelope.sender)
            roster.verify(envelope)
            roster.member(envelope.recipient)
            if (envelope.epoch, envelope.fingerprint) != (reply.statement.epoch, reply.statement.fingerprint):
                raise Refused(ReplyCode.KEY_REFUSED, f"{name} wraps another key than it says")

    def _join(
        self, statement: KeyStatement, envelopes: dict[int, Envelope], holders: set[int], prekeys: list[Prekey]
    ) -> set[int]:
        """Who has the key then: each has said so to the gates of `prekeys`, `holders` without an envelope."""
        word = question(messages.JOIN, 0, JoinRequest(statement=statement, prekeys=prekeys))
        questions: dict[int, Question] = dict.fromkeys(sorted(holders), word) | {
            i: question(messages.JOIN, 0, JoinRequest(statement=statement, envelope=e, prekeys=prekeys))
            for i, e in envelopes.items()
        }

        def check(reply: JoinReply, name: str) -> None:
            self._check_confirmation(reply.confirmation, name)

        joined, _ = self.relay.exchange(questions, JoinReply, check)
        newest = {c.participant: c for c in self.state.saved.confirmations}
        newest |= {reply.confirmation.participant: reply.confirmation for reply in joined.values()}
        self.state.saved.confirmations = [newest[name] for name in self.relay.roster.names if name in newest]
        if joined:
            self.state.save()
        return set(joined)

    def _check_confirmed(self, reply: ConfirmedReply, name: str) -> None:
        self._check_confirmation(reply.confirmation, name)

    def _check_confirmation(self, confirmation: Confirmation, name: str) -> None:
        signed_by(name, confirmation.participant)
        statement = self.state.saved.statement
        assert statement is not None
        checks.check_confirmation(
            confirmation, roster=self.relay.roster, epoch=statement.epoch, fingerprint=statement.fingerprint
        )
