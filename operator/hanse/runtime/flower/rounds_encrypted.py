"""The round loop of an encrypted job: the server relays, adds what it cannot read, and keeps what gates have signed.

Made by the aggregator in the place of `rounds.Federation`, with the same contract. What is asked in a round: train,
verify, apply, and evaluate where the plan says so; `rounds_keys` brings gates in that come late or back.

The checkpoint is written before verify (the list is decided, once for all) and after apply (the model is): a server
that is killed at any point goes on from there with the same list, or lets the round be void.
"""

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.api.job import RoundRecord
from hanse.api.paths import Paths
from hanse.api.runconfig import RunConfig
from hanse.runtime.aggregation import Arrays, build_strategy
from hanse.runtime.aggregation.metrics import stop_rule
from hanse.runtime.agreement.messages import Commit
from hanse.runtime.agreement.roster import Roster
from hanse.runtime.flower.rounds_encrypted_state import EncryptedState
from hanse.runtime.flower.rounds_evaluation import Evaluation
from hanse.runtime.flower.rounds_first import first_model
from hanse.runtime.flower.rounds_fleet import Clock, EachFleet, RunFailedError
from hanse.runtime.flower.rounds_gather import Gathering
from hanse.runtime.flower.rounds_keys import Keys
from hanse.runtime.flower.rounds_model import model_about, written
from hanse.runtime.flower.rounds_private import PrivateQuestions
from hanse.runtime.flower.rounds_relay import Relay
from hanse.runtime.flower.rounds_release import Releasing
from hanse.runtime.flower.rounds_report import Reporter, metric_texts, round_record
from hanse.runtime.flower.rounds_sealing import Sealing
from hanse.runtime.flower.rounds_state import checkpoint_file
from hanse.runtime.flower.rounds_sums import RoundSum
from hanse.runtime.flower.rounds_training import Training
from hanse.runtime.flower.rounds_verifying import Verifying
from hanse.runtime.flower.rounds_votes import Round, RoundVoid
from hanse.runtime.lost import read_lost

#: So many void rounds in a row end the job.
_MOST_VOIDS: Final = 3
_log = logging.getLogger("hanse.encrypted")


@dataclass
class EncryptedFederation:
    """One run of the round loop."""

    config: RunConfig
    paths: Paths
    fleet: EachFleet
    clock: Clock
    reporter: Reporter

    def __post_init__(self) -> None:
        plan = self.config.encryption
        if plan is None:
            raise ValueError("the job is not encrypted")
        roster = Roster(plan, self.config.job.uid)
        directory = checkpoint_file(self.paths.state).parent
        self.state = EncryptedState(directory, self.config.job.uid, roster.agreement)
        lost = partial(read_lost, self.paths)
        self.gathering = Gathering(self.config, self.fleet, self.clock, self.reporter, lost)
        self.relay = Relay(self.config, plan, roster, self.fleet, self.clock, self.reporter, self.gathering)
        self.keys = Keys(self.relay, self.state)
        self.gathering.admit = self._admit
        self.training = Training(self.relay, self.keys, self.state, build_strategy(self.config.aggregation))
        self.evaluation = Evaluation(self.relay, self.keys, self.state)
        self.sealing = Sealing(self.relay, self.keys, self.state)

    def run(self) -> Reason:
        """All rounds and the model's release; Completed or StoppedByMetric. Raises RunFailedError and DrainedError."""
        resumed = self.state.restore()
        self.keys.handout.report()
        self._publish_state()
        if self._unfinished:
            self.gathering.wait_for_start(self._expected())
        if not self.state.saved.first:
            self._initialise()
        self.reporter.update(phase="Running")
        stopped = resumed and self._catch_up()
        with self.training:
            while not stopped and self._unfinished:
                self._round(self.state.saved.completed + 1)
                stopped = self._stops()
                self._publish_state()
        self.state.save()
        self._release()
        return Reason.STOPPED_BY_METRIC if stopped else Reason.COMPLETED

    @property
    def _unfinished(self) -> bool:
        return self.state.saved.completed < self.config.rounds

    def _expected(self) -> frozenset[int]:
        """Whom to wait for at the start; a resumed run does not wait again for who was missing before."""
        history = self.state.saved.history
        missing = set(history[-1].missing) if history and history[-1].contributed else set()
        return frozenset(p.index for p in self.config.participants if p.name not in missing)

    def _admit(self, connected: frozenset[int]) -> frozenset[int]:
        """Who can take part; where somebody waits for the committed model, it is sealed once more."""
        ready = self.keys.admit(connected)
        if self.keys.lacking and self.sealing.again():
            self.keys.try_again()
            ready = self.keys.admit(connected)
        return ready

    def _stops(self) -> bool:
        """Whether a stopWhen rule holds. Judged on the published number, so that a resumed run judges alike."""
        history = self.state.saved.history
        if not history:
            return False
        metrics = {name: float(text) for name, text in history[-1].metrics.items()}
        return stop_rule(self.config.stop_when, metrics) is not None

    def _publish_state(self) -> None:
        saved = self.state.saved
        self.reporter.update(completed=saved.completed, rounds=saved.history, contributed=saved.contributed)

    # -- before round 1

    def _initialise(self) -> None:
        """What the gates say of the first model, which each has made itself; then the statistics."""
        first = first_model(self.gathering, self.keys.first_models)
        saved = self.state.saved
        saved.points = first.points
        saved.model_metadata = str(first.app.get("model", ""))
        saved.statistics = self._statistics(first.app)
        saved.first = first.digest
        self.state.save()

    def _statistics(self, app: Mapping[str, Any]) -> dict[str, Any] | None:
        if self.config.privacy is not None:
            return PrivateQuestions(self.config.privacy, self.gathering).statistics(app)
        return self.gathering.statistics() if app.get("statistics") else None

    # -- a round

    def _round(self, number: int) -> None:
        started = self.clock.monotonic()
        self.reporter.update(phase="Running", round_started_at=self.clock.now())
        seed = self.state.seed(number)
        try:
            updates = self.training.collect(number, seed)
            commit = self._decide(number, updates)
        except RoundVoid as void:
            self._void(number, started, void)
            return
        contributed = updates.names
        missing = [name for name in self.relay.roster.names if name not in contributed]
        reasons = {self.relay.name(i): str(reason) for i, reason in updates.failures.items()}
        self.state.commit(commit, contributed)

        def record(metrics: dict[str, float]) -> RoundRecord:
            """Of the round as it stands: evaluation takes time and has reasons of its own."""
            return round_record(
                number=number,
                contributed=len(contributed),
                missing=missing,
                reasons={name: reasons.get(name) or self._why(name) for name in [*missing, *reasons]},
                seconds=self.clock.monotonic() - started,
                metrics=metrics,
                digest=self.state.model,
                sent=updates.sent,
            )

        self.state.close_round(record({}))
        self.state.save()
        self.keys.try_again()
        self.state.replace_record(record(self.evaluation.ask(number, seed, reasons)))

    def _why(self, name: str) -> str:
        """Why somebody was not even asked: who is connected may lack the key or the model."""
        index = self.relay.index(name)
        known = self.reporter.reasons.get(index) if index in self.reporter.connected else None
        return str(known or Reason.NOT_CONNECTED)

    def _decide(self, number: int, updates: RoundSum) -> Commit:
        """Persist the list, have it voted for, added and applied. Raises RoundVoid."""
        self.training.decide(updates)
        verifying = Verifying(self.relay, self.state, number, updates.halves)
        # Verifiers do the same work on their machines meanwhile; nobody needs the total before they have answered.
        with ThreadPoolExecutor(1) as beside:
            total = beside.submit(updates.adder.total).result
            round_ = Round(self.relay, self.keys, number, self.state.base, updates.listed, verifying, total)
            round_.verify()
        # They are as large as a model each, and nobody asks for them again.
        updates.halves.clear()
        last = number == self.config.rounds
        due = last or number % self.config.checkpoint_every_rounds == 0 or bool(self.keys.lacking)
        commit = round_.apply(seal=due)
        self.gathering.enough()
        if round_.sealed is not None:
            self.state.seal(number, round_.sealed)
        self.sealing.sealed_by(number, round_.sealed_by)
        return commit

    def _void(self, number: int, started: float, void: RoundVoid) -> None:
        """The round is spent and brings nothing; the model stays as it was. Three in a row end the job."""
        _log.warning("%s", void)
        reasons = {name: str(reason) for name, reason in void.reasons.items()}
        record = round_record(
            number=number,
            contributed=0,
            missing=list(self.relay.roster.names),
            reasons=reasons,
            seconds=self.clock.monotonic() - started,
            metrics={},
            digest=self.state.model,
        )
        self.state.void_round(record)
        # As long as suspicion narrows down there is an end to it.
        narrowed = bool(void.spoiled) and self.state.suspect(void.spoiled)
        self.state.save()
        told = f"{void}{self._suspicion()}" if void.spoiled else str(void)
        self.reporter.update(message=told)
        if self.state.saved.voids >= _MOST_VOIDS and not narrowed:
            self._publish_state()
            raise RunFailedError(ExitCode.MODEL_MISMATCH, f"{self.state.saved.voids} rounds in a row were void: {told}")

    def _suspicion(self) -> str:
        suspects, plan = self.state.saved.suspects, self.relay.plan
        if len(self.relay.roster) == plan.quorum:
            return "; with a quorum of all nobody can be left out to find whose"
        return f"; all such sums had updates of {', '.join(suspects[:5])}" if len(suspects) < len(plan.roster) else ""

    def _catch_up(self) -> bool:
        """A run that was cut off before it had evaluated its newest round does so; whether a stopWhen rule holds."""
        saved = self.state.saved
        if saved.evaluated < saved.completed and saved.history and saved.history[-1].contributed:
            self.gathering.present(None)
            reasons: dict[str, str] = {}
            metrics = self.evaluation.ask(saved.completed, self.state.seed(saved.completed), reasons)
            self.state.replace_record(saved.history[-1].model_copy(update={"metrics": metric_texts(metrics)}))
        self._publish_state()
        return self._stops()

    # -- the end

    def _release(self) -> None:
        """The model, to whom the plan says; its digest is in the rounds' records in all cases."""
        commit, plan = self.state.saved.commit, self.relay.plan
        if commit is None:
            raise RunFailedError(ExitCode.MODEL_MISMATCH, "no round brought a model that the gates agree on")
        if plan.model_release == "Never":
            return
        releasing = Releasing(self.relay, self.keys, commit, self.state.contributors)
        if plan.model_release == "Participants":
            releasing.participants()
        else:
            self._write(releasing.coordinator())
        self.reporter.message = ""

    def _write(self, arrays: Arrays) -> None:
        saved = self.state.saved
        about = model_about(self.config, saved.model_metadata, saved.statistics, saved.completed)
        self.reporter.model = written(self.config, self.paths, arrays, about)
