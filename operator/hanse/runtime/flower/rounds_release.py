"""The end of an encrypted job: the plain model leaves once, with the word of everybody whose update is in it.

Used by the encrypted round loop. `Coordinator`: one gate hands the model out and it is written here; `Participants`:
each gate writes it at its owner's; `Never`: it stays in the gates and goes with them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.api.replies import ReplyCode
from hanse.runtime.aggregation import Arrays, arrays_digest
from hanse.runtime.agreement import messages
from hanse.runtime.agreement.messages import Commit, ModelReply, ModelRequest, ReleaseReply, ReleaseRequest
from hanse.runtime.agreement.statements import Release
from hanse.runtime.flower.rounds_fleet import Answer, Question, RunFailedError
from hanse.runtime.flower.rounds_keys import Keys
from hanse.runtime.flower.rounds_relay import PASSING, Relay, question, signed_by
from hanse.runtime.refused import Refused

_PAUSE_SECONDS: Final = 1.0
#: Asks so many and says why some of them have not done it.
Ask = Callable[[list[int]], dict[int, Reason]]


@dataclass
class Releasing:
    """Of the model of `commit`, the last one that was agreed on."""

    relay: Relay
    keys: Keys
    commit: Commit
    contributors: list[str]

    @property
    def digest(self) -> str:
        """Of the model's arrays."""
        return self.commit.applied[0].model

    def coordinator(self) -> Arrays:
        """The model, from whichever gate hands it out. Raises RunFailedError(MODEL_NOT_RELEASED)."""
        request = self._request()
        found: list[Arrays] = []

        def ask(indices: list[int]) -> dict[int, Reason]:
            failures: dict[int, Reason] = {}
            for index in indices:
                taken = self._model_of(index, self.relay.ask({index: request})[index])
                if not isinstance(taken, Reason):
                    found.append(taken)
                    break
                failures[index] = taken
            return failures

        self._until(ask, "handed out the model", lambda done: bool(found))
        return found[0]

    def participants(self) -> None:
        """Every contributor writes the model at its owner's; so does who else is there. Raises RunFailedError."""
        request = self._request()

        def ask(indices: list[int]) -> dict[int, Reason]:
            return self.relay.exchange(dict.fromkeys(indices, request), ModelReply, self._check_model)[1]

        self._until(ask, "written the model at their owners'")
        ask(sorted(self.keys.admit(self.relay.gathering.connected()) - self._wanted))

    @property
    def _wanted(self) -> frozenset[int]:
        return self.relay.indices(self.contributors)

    def _request(self) -> Question:
        """Asks for the model, with the word of every contributor."""
        request = question(messages.RELEASE, self.commit.round, ReleaseRequest(commit=self.commit))
        releases: dict[int, Release] = {}

        def ask(indices: list[int]) -> dict[int, Reason]:
            asked = dict.fromkeys(indices, request)
            replies, failures = self.relay.exchange(asked, ReleaseReply, self._check_release)
            releases.update({index: reply.release for index, reply in replies.items()})
            return failures

        self._until(ask, "released the model")
        ordered = [releases[i] for i in sorted(releases)]
        return question(messages.MODEL, self.commit.round, ModelRequest(round=self.commit.round, releases=ordered))

    def _until(self, ask: Ask, what: str, over: Callable[[set[int]], bool] | None = None) -> None:
        """Ask all contributors, who come when they come, until all have done it or it is `over`. Raises RunFailedError.

        `ask` says why some of those that it was given have not.
        """
        clock, wanted = self.relay.clock, self._wanted
        end = clock.monotonic() + self.relay.config.start_timeout_seconds
        done: set[int] = set()
        reasons: dict[int, Reason] = {}
        while True:
            here = sorted(wanted & self.keys.admit(self.relay.gathering.connected()) - done)
            failures = ask(here) if here else {}
            reasons = {i: r for i, r in reasons.items() if i not in here} | failures
            done |= set(here) - failures.keys()
            if over(done) if over is not None else done == wanted:
                self.relay.note({}, done)
                return
            self.relay.note(failures, done)
            self.keys.drop(failures.items())
            final = {i for i, reason in reasons.items() if reason not in PASSING}
            hopeless = bool(final) if over is None else final == wanted
            self._check_hope(self._told(wanted - done, reasons, what), hopeless, late=clock.monotonic() >= end)
            clock.sleep(_PAUSE_SECONDS)

    def _check_hope(self, told: str, hopeless: bool, *, late: bool) -> None:
        """Go on waiting? Not when time is over, or when who is needed refuses for good."""
        if hopeless or late:
            waited = f" within {self.relay.config.start_timeout_seconds} s" if late else ""
            raise RunFailedError(
                ExitCode.MODEL_NOT_RELEASED,
                f"{told}{waited}; the model ({self.digest}) stays in the gates and the checkpoint on its volume",
            )
        if self.relay.reporter.message != told:
            self.relay.reporter.update(message=told)

    def _told(self, missing: frozenset[int], reasons: dict[int, Reason], what: str) -> str:
        named = ", ".join(f"{self.relay.name(i)} ({reasons.get(i) or self._why(i)})" for i in sorted(missing)[:5])
        return f"not all have {what}: {named}"

    def _why(self, index: int) -> str:
        """Why somebody was not even asked."""
        reporter = self.relay.reporter
        known = reporter.reasons.get(index, Reason.PENDING)
        return str(known if index in reporter.connected else Reason.NOT_CONNECTED)

    # -- checks

    def _check_release(self, reply: ReleaseReply, name: str) -> None:
        one = reply.release
        signed_by(name, one.participant)
        self.relay.roster.verify(one)
        if (one.round, one.model, one.to) != (self.commit.round, self.digest, self.relay.plan.model_release):
            raise Refused(ReplyCode.RELEASE_REFUSED, f"{name} releases another model")

    def _check_model(self, reply: ModelReply, name: str) -> None:
        if reply.model != self.digest:
            raise Refused(ReplyCode.MODEL_MISMATCH, f"{name} has another model")

    def _model_of(self, index: int, answer: Answer) -> Arrays | Reason:
        reply = self.relay.read(index, answer, ModelReply, self._check_model)
        if isinstance(reply, Reason):
            return reply
        arrays = dict(answer.arrays or {})
        return arrays if arrays_digest(arrays) == self.digest else Reason.MODEL_MISMATCH
