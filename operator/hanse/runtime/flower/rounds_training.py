"""Training of an encrypted round: ask until a quorum of updates has been added. Used by the encrypted round loop.

A list that was decided before this server started is finished with exactly its contributions: each of those gates gives
the same bytes again, or the round is void.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.runtime.aggregation import Strategy
from hanse.runtime.agreement import messages
from hanse.runtime.agreement.messages import TrainRequest
from hanse.runtime.agreement.statements import asked_digest
from hanse.runtime.flower.rounds_encrypted_state import EncryptedState, Pending
from hanse.runtime.flower.rounds_fleet import Config, RunFailedError
from hanse.runtime.flower.rounds_keys import Keys
from hanse.runtime.flower.rounds_relay import PASSING, Relay, question
from hanse.runtime.flower.rounds_sums import RoundSum
from hanse.runtime.flower.rounds_suspects import left_out
from hanse.runtime.flower.rounds_updates import APP_CAUSED, HOPELESS_REPEATS, REPEAT_PAUSE_SECONDS, told_of
from hanse.runtime.flower.rounds_votes import RoundVoid
from hanse.runtime.he import Summing, UploadSum

_ATTEMPT: Final = 1


def standard(statistics: dict[str, Any] | None) -> dict[str, Config]:
    """Mean and scale for the app, as the record of a question."""
    return {} if statistics is None else {"statistics": {key: statistics[key] for key in ("mean", "scale")}}


@dataclass
class Training:
    """Asks for updates and adds them in one worker process, which lives as long as the block."""

    relay: Relay
    keys: Keys
    state: EncryptedState
    strategy: Strategy

    def __post_init__(self) -> None:
        self._sum: UploadSum | None = None
        self._spared = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._sum is not None:
            self._sum.close()

    def collect(self, number: int, seed: int) -> RoundSum:
        """The updates of a round: a quorum, or those of the decided list. Raises RoundVoid and RunFailedError."""
        updates = self._begin(number, seed)
        self._spared = True
        started = self.relay.clock.monotonic()
        hopeless = 0
        while True:
            present = self._ask(updates, number, seed)
            # Should it not do without them, the suspects' updates are taken after all.
            self._spared = False
            if self._complete(updates):
                self.relay.gathering.enough()
                return updates
            if updates.decided is not None:
                self._check_decided(updates, updates.decided, started)
            else:
                told = f"round {number} is repeated, {len(updates.contributions)} updates"
                causes = set(updates.failures.values())
                hopeless = hopeless + 1 if len(present) >= self.relay.config.quorum and causes <= APP_CAUSED else 0
                if hopeless >= HOPELESS_REPEATS and self.relay.config.on_dropout == "SkipRound":
                    reasons = {self.relay.name(i): str(r) for i, r in updates.failures.items()}
                    raise RunFailedError(ExitCode.QUORUM_LOST, f"{told}: {told_of(reasons)}")
                self.relay.gathering.short(told, self.relay.gathering.everyone - updates.contributions.keys())
            self.relay.clock.sleep(REPEAT_PAUSE_SECONDS)

    def decide(self, updates: RoundSum) -> None:
        """From now on the round is finished with this list, or void."""
        if updates.decided is None:
            self.state.saved.pending = Pending(round=updates.number, contributions=updates.listed)
            self.state.save()

    def _configs(self, number: int, seed: int) -> dict[str, Config]:
        """What the apps are told: all of them the same, and the same again when the round is repeated."""
        config: Config = {"server-round": number, "round-seed": seed} | self.strategy.train_config()
        return {"config": config, **standard(self.state.saved.statistics)}

    def _begin(self, number: int, seed: int) -> RoundSum:
        saved = self.state.saved
        if self._sum is None:
            scheme, points = self.relay.plan.scheme, saved.points
            self._sum = UploadSum(scheme, points, Summing(scheme, points, len(self.relay.roster)))
        else:
            self._sum.reset()
        decided = saved.pending if saved.pending is not None and saved.pending.round == number else None
        asked = asked_digest(self._configs(number, seed))
        return RoundSum(self.relay, self._sum, number, saved.points, "", self.state.model, asked, decided)

    def _ask(self, updates: RoundSum, number: int, seed: int) -> list[int]:
        """Ask who is present and has given no update yet; who is present."""
        gathering, decided = self.relay.gathering, updates.decided
        # A private job's late participants are not asked for statistics: each answer would cost them.
        present = gathering.present(None if self.relay.config.privacy is not None else self.state.saved.statistics)
        updates.fingerprint = self.keys.handout.fingerprint
        request = TrainRequest(commit=self.state.saved.commit, attempt=_ATTEMPT)
        asked = question(messages.TRAIN, number, request, configs=self._configs(number, seed))
        wanted = gathering.everyone if decided is None else self.relay.indices(decided.names)
        wanted -= (out := self._left_out(present) if decided is None else frozenset())
        to = [i for i in present if i in wanted and i not in updates.contributions]
        for index, answer in self.relay.ask(dict.fromkeys(to, asked), updates.seen).items():
            if index not in updates.contributions and answer.failure is not None:
                updates.failures[index] = answer.failure
        updates.failures.update(dict.fromkeys(out, Reason.SUM_REFUSED))
        self.relay.note(updates.failures, updates.contributions)
        self.keys.drop(updates.failures.items())
        if self.relay.config.on_dropout == "Fail" and decided is None and updates.contributions.keys() != wanted:
            gathering.drop(frozenset(updates.contributions))
        return present

    def _left_out(self, present: list[int]) -> frozenset[int]:
        """Under suspicion of having spoiled a sum, as many as the quorum can do without."""
        saved, config = self.state.saved, self.relay.config
        if not self._spared or config.on_dropout == "Fail":
            return frozenset()
        names = self.relay.gathering.names(present)
        return self.relay.indices(left_out(saved.suspects, names, config.quorum, again=saved.voids > 0))

    def _complete(self, updates: RoundSum) -> bool:
        if updates.decided is not None:
            return len(updates.contributions) == len(updates.decided.contributions)
        return len(updates.contributions) >= self.relay.config.quorum

    def _check_decided(self, updates: RoundSum, decided: Pending, started: float) -> None:
        """Whether the decided list can still be finished. Raises RoundVoid."""
        missing = self.relay.indices(decided.names) - updates.contributions.keys()
        final = {i: reason for i, reason in updates.failures.items() if i in missing and reason not in PASSING}
        waited = self.relay.clock.monotonic() - started
        reasons = {self.relay.name(i): updates.failures.get(i, Reason.NOT_CONNECTED) for i in sorted(final or missing)}
        told = f"round {updates.number} was cut off and cannot be finished: {told_of(reasons)}"
        if final or waited >= self.relay.config.start_timeout_seconds:
            raise RoundVoid(told, reasons)
        if self.relay.reporter.message != told:
            self.relay.reporter.update(message=f"round {updates.number} was cut off, waiting for {told_of(reasons)}")
