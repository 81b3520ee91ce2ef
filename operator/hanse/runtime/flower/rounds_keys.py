"""Who of the gates holds the job's key and the committed model, and how the others get them. Used by the round loop.

`rounds_handout` brings the key to who greets without it; who lacks the model is handed the newest sealed state. Gates
come late or back at any time.
"""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import messages
from hanse.runtime.agreement.messages import (
    HelloReply,
    HelloRequest,
    RestoreReply,
    RestoreRequest,
)
from hanse.runtime.flower.rounds_encrypted_state import EncryptedState, SealedFile
from hanse.runtime.flower.rounds_fleet import RunFailedError
from hanse.runtime.flower.rounds_handout import HandOut
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
        self.handout = HandOut(self.relay, self.state)
        self._stateless: set[int] = set()
        #: The sealed state that somebody was restored from: who cannot read it, or says so, does not make it bad.
        self._proven: SealedFile | None = None
        #: Rounds of gates that are further than this server's checkpoint.
        self._ahead: dict[int, int] = {}
        self._tried: frozenset[int] = frozenset()
        self._pause = _FIRST_PAUSE
        self._next = -math.inf
        self._keyless_since: float | None = None

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

    def here(self, enough: int, *, look: bool) -> list[int]:
        """Who can take part now; waits, as for a round, where they are not even `enough`.

        Without `look` it is who was connected when the server last looked: in the middle of a round that is now.
        """
        connected = self.relay.gathering.connected() if look else self.relay.reporter.connected
        ready = self.admit(connected)
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

    # -- bringing in

    def _bring_in(self, waiting: frozenset[int]) -> None:
        asked = dict.fromkeys(sorted(waiting), question(messages.HELLO, 0, HelloRequest()))
        hellos, _ = self.relay.exchange(asked, HelloReply, self._check_hello)
        self.first_models.update({i: hello.model for i, hello in hellos.items() if hello.round == 0})
        keyless = {i for i, hello in hellos.items() if not hello.fingerprint}
        lost = self.handout.made and self.relay.gathering.everyone <= keyless
        keyed = self.handout.give(hellos, self.ready)
        if lost:
            # It was in directories that are gone, and nobody is left who could come back with it.
            raise self._lost("every gate is here, and none holds")
        if keyed:
            self._catch_up(keyed, hellos)

    def _check_hello(self, hello: HelloReply, name: str) -> None:
        signed_by(name, hello.prekey.participant)
        self.relay.roster.verify(hello.prekey)

    # -- the committed model

    def _catch_up(self, keyed: set[int], hellos: dict[int, HelloReply]) -> None:
        """Who holds the committed model is ready; the others are given it, if somebody has sealed it."""
        # Gates commit what this server has on its disk; one that says otherwise may lie, many do not.
        ahead = {i for i in keyed if hellos[i].round > self.state.base}
        self._ahead = {i: r for i, r in self._ahead.items() if i not in keyed} | {i: hellos[i].round for i in ahead}
        if len(self._ahead) >= self.relay.plan.votes:
            raise self._behind()
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
        if restored:
            self._proven = self.state.saved.sealed
        if Reason.STATE_REFUSED in failures.values() and self._proven != self.state.saved.sealed:
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
        if self._ahead:
            raise self._behind()
        here = ", ".join(self.relay.gathering.names(connected)[:5])
        missing = ", ".join(self.relay.gathering.names(self.relay.gathering.everyone - connected)[:5]) or "nobody"
        if self.handout.made:
            raise self._lost(f"for {timeout} s no gate that is connected held", f"{here}, missing: {missing}")
        raise RunFailedError(
            ExitCode.QUORUM_NOT_REACHED,
            f"no key was made within {timeout} s: it takes {self.relay.plan.key_maker}, whose gate makes it, and "
            f"{self.relay.plan.quorum} participants; connected: {here}, missing: {missing}",
        )

    def _lost(self, what: str, who: str = "all") -> RunFailedError:
        return RunFailedError(
            ExitCode.KEY_LOST,
            f"{what} the job's key, which lies in the gates' pods alone: connected without it: {who}; "
            "nobody can open the model now, start the job again",
        )

    def _behind(self) -> RunFailedError:
        """This server's volume was lost or is an older copy: gates never go back."""
        named = ", ".join(self.relay.gathering.names(set(self._ahead))[:5])
        return RunFailedError(
            ExitCode.CHECKPOINT_INVALID,
            f"{named} have committed round {max(self._ahead.values())}, the server's checkpoint stands at "
            f"{self.state.base}: bring the newest copy of its volume back, or start the job again",
        )
