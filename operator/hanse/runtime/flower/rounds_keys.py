"""Who of the gates holds the job's key and the committed model, and how the others get them. Used by the round loop.

The server makes no key and reads none: it asks one gate to wrap it for the others, carries the envelopes, collects what
each gate signs, and hands the newest sealed state to who lacks it. Gates come late or back at any time.
"""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.api.progress import EncryptionProgress
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import checks, messages
from hanse.runtime.agreement.messages import (
    ConfirmedReply,
    ConfirmedRequest,
    HelloReply,
    HelloRequest,
    JoinReply,
    JoinRequest,
    RestoreReply,
    RestoreRequest,
    WrapReply,
    WrapRequest,
)
from hanse.runtime.agreement.statements import Confirmation, Envelope, KeyStatement
from hanse.runtime.flower.rounds_encrypted_state import EncryptedState
from hanse.runtime.flower.rounds_fleet import Question, RunFailedError
from hanse.runtime.flower.rounds_relay import Relay, question, signed_by
from hanse.runtime.refused import Refused

#: Between two attempts to bring the same gates in: the first pause, doubled up to the last.
_FIRST_PAUSE: Final = 1.0
_LAST_PAUSE: Final = 30.0


@dataclass
class Keys:
    """`admit` is called with who is connected before every question to all."""

    relay: Relay
    state: EncryptedState
    #: Who holds the key and, as far as anybody said, the committed model.
    ready: set[int] = field(default_factory=set)
    #: Who waits for somebody to seal the committed model.
    lacking: set[int] = field(default_factory=set)
    #: Digests of the first models, as gates that stand at round 0 greet.
    first_models: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._stateless: set[int] = set()
        self._tried: frozenset[int] = frozenset()
        self._pause = _FIRST_PAUSE
        self._next = -math.inf
        self._keyless_since: float | None = None

    @property
    def fingerprint(self) -> str:
        """Of the job's key. Only once it is made."""
        assert self.state.saved.statement is not None
        return self.state.saved.statement.fingerprint

    def admit(self, connected: frozenset[int]) -> frozenset[int]:
        """Bring in who is connected, as far as it goes; who can take part. Raises RunFailedError: the key is lost."""
        self.ready &= connected
        self.lacking &= connected
        waiting = connected - self.ready
        now = self.relay.clock.monotonic()
        if waiting and (waiting - self._tried or now >= self._next):
            self._tried = waiting
            self._bring_in(waiting)
            left = connected - self.ready
            self._pause = min(self._pause * 2, _LAST_PAUSE) if left else _FIRST_PAUSE
            self._next = now + self._pause
        if connected and not self.ready:
            self._without_key(connected)
        else:
            self._keyless_since = None
        return frozenset(self.ready)

    def here(self, enough: int) -> list[int]:
        """Who can take part now; waits, as for a round, where they are not even `enough`."""
        ready = self.admit(self.relay.gathering.connected())
        return sorted(ready) if len(ready) >= enough else self.relay.gathering.present(None)

    def drop(self, failures: Iterable[tuple[int, Reason]]) -> None:
        """Whoever says that it lacks something is brought in again before the next question."""
        for index, reason in failures:
            if reason in (Reason.KEY_NOT_HELD, Reason.STATE_MISSING):
                self.ready.discard(index)
                self._tried -= {index}
                if reason == Reason.STATE_MISSING:
                    self._stateless.add(index)

    def try_again(self) -> None:
        """There is a new sealed state: who lacks it need not wait."""
        self._tried -= self.lacking

    def report(self) -> None:
        """Who holds the key, for the progress."""
        saved = self.state.saved
        made = self._made and saved.statement is not None
        self.relay.reporter.update(
            encryption=EncryptionProgress(
                fingerprint=self.fingerprint if made else "",
                maker=self.relay.plan.key_maker,
                holders=[c.participant for c in saved.confirmations] if made else [],
            )
        )

    # -- bringing in

    @property
    def _made(self) -> bool:
        """Whether a quorum has confirmed the key: from then on there is no other."""
        return len(self.state.saved.confirmations) >= self.relay.plan.quorum

    def _bring_in(self, waiting: frozenset[int]) -> None:
        asked = dict.fromkeys(sorted(waiting), question(messages.HELLO, 0, HelloRequest()))
        hellos, _ = self.relay.exchange(asked, HelloReply, self._check_hello)
        self.first_models.update({i: hello.model for i, hello in hellos.items() if hello.round == 0})
        keyed = self._hand_out(hellos)
        if keyed:
            self._catch_up(keyed, hellos)

    def _check_hello(self, hello: HelloReply, name: str) -> None:
        signed_by(name, hello.prekey.participant)
        self.relay.roster.verify(hello.prekey)

    def _hand_out(self, hellos: dict[int, HelloReply]) -> set[int]:
        """Give the key to who has none; who holds it then, and knows that a quorum does."""
        saved = self.state.saved
        confirmed = {c.participant for c in saved.confirmations}
        known = None if saved.statement is None else saved.statement.fingerprint
        holders = {i for i, h in hellos.items() if h.fingerprint and h.fingerprint == known}
        joiners = [i for i in hellos if i not in holders or self.relay.name(i) not in confirmed]
        if joiners:
            statement, envelopes = self._wrap(hellos, holders | self.ready, joiners)
            if statement is not None and envelopes:
                holders |= self._join(statement, envelopes)
        if not self._made:
            return set()
        request = question(messages.CONFIRMED, 0, ConfirmedRequest(confirmations=self.state.saved.confirmations))
        told, _ = self.relay.exchange(dict.fromkeys(sorted(holders), request), ConfirmedReply, self._check_confirmed)
        self.report()
        return set(told)

    def _sources(self, hellos: dict[int, HelloReply], holders: set[int]) -> list[int]:
        """Whom to ask for envelopes, one after the other; the maker makes the key once a quorum is there."""
        maker = self.relay.index(self.relay.plan.key_maker)
        holding = holders | {i for i, h in hellos.items() if h.fingerprint}
        if not self._made and maker in hellos and len(hellos) >= self.relay.plan.quorum:
            holding.add(maker)
        return sorted(holding, key=lambda index: (index != maker, index))

    def _wrap(
        self, hellos: dict[int, HelloReply], holders: set[int], joiners: list[int]
    ) -> tuple[KeyStatement | None, dict[int, Envelope]]:
        """The key for each of `joiners`, from the first gate that gives it."""
        for source in self._sources(hellos, holders):
            statement, envelopes = self._wrap_by(source, hellos, joiners)
            if statement is None:
                continue
            if self.state.saved.statement != statement:
                self.state.saved.statement = statement
                # Durable before anybody joins: a new server must not take another key for the job's.
                self.state.save()
            return statement, envelopes
        return None, {}

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

    def _join(self, statement: KeyStatement, envelopes: dict[int, Envelope]) -> set[int]:
        questions: dict[int, Question] = {
            i: question(messages.JOIN, 0, JoinRequest(statement=statement, envelope=e)) for i, e in envelopes.items()
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

    # -- the committed model

    def _catch_up(self, keyed: set[int], hellos: dict[int, HelloReply]) -> None:
        """Who holds the committed model is ready; the others are given it, if somebody has sealed it."""
        ahead = {i for i in keyed if hellos[i].round > self.state.base}
        # Gates never go back: this server's checkpoint is older than it said.
        self.relay.note(dict.fromkeys(ahead, Reason.STALE_ROUND), [])
        keyed = keyed - ahead
        commit = self.state.saved.commit
        if commit is None:
            self.ready |= keyed
            return
        applied = {one.participant for one in commit.applied}
        restored: list[int] = []
        for index in sorted(keyed):
            hello = hellos[index]
            if hello.round == commit.round and hello.model != self.state.model:
                self.relay.note({index: Reason.MODEL_MISMATCH}, [])
            elif hello.round == commit.round and index not in self._stateless:
                self.ready.add(index)
            elif self.relay.name(index) in applied and hello.fingerprint and index not in self._stateless:
                # It has made this model itself and learns with the next message that it is the job's.
                self.ready.add(index)
            else:
                restored.append(index)
        self._restore(restored, commit)

    def _restore(self, indices: Collection[int], commit: messages.Commit) -> None:
        sealed = self.state.sealed() if indices else None
        if sealed is None or not self.state.sealed_is_current:
            self.lacking |= set(indices)
            self.relay.note(dict.fromkeys(indices, Reason.STATE_MISSING), [])
            return
        request = question(
            messages.RESTORE,
            commit.round,
            RestoreRequest(commit=commit),
            record=messages.STATE,
            arrays={messages.SEALED: sealed},
        )

        def check(reply: RestoreReply, name: str) -> None:
            if reply.round != commit.round:
                raise Refused(ReplyCode.STATE_REFUSED, f"{name} stands at round {reply.round}")

        restored, failures = self.relay.exchange(dict.fromkeys(indices, request), RestoreReply, check)
        self.ready |= set(restored)
        self._stateless -= set(restored)
        self.lacking -= set(restored)
        if Reason.STATE_REFUSED in failures.values():
            # Whoever sealed it may have lied: another gate is asked to.
            self.state.forget_sealed()
            self.lacking |= {i for i, reason in failures.items() if reason == Reason.STATE_REFUSED}

    # -- no key

    def _without_key(self, connected: frozenset[int]) -> None:
        """Nobody who is connected can take part: for how long, and is the key lost for good?"""
        if self.lacking:
            self._keyless_since = None
            return
        now, timeout = self.relay.clock.monotonic(), self.relay.config.start_timeout_seconds
        if self._keyless_since is None:
            short_since = self.relay.gathering.short_since
            self._keyless_since = now if short_since is None else short_since
        if now - self._keyless_since < timeout:
            return
        here = ", ".join(self.relay.gathering.names(connected)[:5])
        missing = ", ".join(self.relay.gathering.names(self.relay.gathering.everyone - connected)[:5]) or "nobody"
        if self._made:
            raise RunFailedError(
                ExitCode.KEY_LOST,
                f"for {timeout} s no gate that is connected held the job's key, which only the gates' memory has: "
                f"{here} started anew, missing: {missing}; bring a missing gate back or start the job again",
            )
        raise RunFailedError(
            ExitCode.QUORUM_NOT_REACHED,
            f"no key was made within {timeout} s: it takes {self.relay.plan.key_maker}, whose gate makes it, and "
            f"{self.relay.plan.quorum} participants; connected: {here}, missing: {missing}",
        )
