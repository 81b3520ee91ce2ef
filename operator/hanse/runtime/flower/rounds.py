"""The round loop of the platform's ServerApp: start, rounds, dropouts, early stop, checkpoints, final model.

Called by `server_app` with the real fleet and clock, by the tests with fakes. Knows nothing of Flower.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.api.paths import Paths
from hanse.api.runconfig import RunConfig
from hanse.runtime.aggregation import AggregationError, Arrays, Update, arrays_digest, build_strategy
from hanse.runtime.aggregation.metrics import NUM_EXAMPLES, stop_rule, weighted_mean
from hanse.runtime.flower.rounds_fleet import (
    EVALUATE,
    INITIAL,
    TRAIN,
    Answer,
    Clock,
    Config,
    Fleet,
    Question,
    RunFailedError,
)
from hanse.runtime.flower.rounds_gather import Gathering
from hanse.runtime.flower.rounds_model import model_about, written
from hanse.runtime.flower.rounds_private import PrivateQuestions, metrics_of
from hanse.runtime.flower.rounds_report import Reporter, round_record
from hanse.runtime.flower.rounds_state import RunState, checkpoint_file
from hanse.runtime.flower.rounds_updates import (
    APP_CAUSED,
    HOPELESS_REPEATS,
    REPEAT_PAUSE_SECONDS,
    Intake,
    finite,
    metric_refusal,
    scalars,
    size,
    told_of,
)
from hanse.runtime.lost import read_lost


@dataclass
class Federation:
    """One run of the round loop."""

    config: RunConfig
    paths: Paths
    fleet: Fleet
    clock: Clock
    reporter: Reporter

    def __post_init__(self) -> None:
        self.state = RunState(self.config.job.uid, build_strategy(self.config.aggregation))
        lost = partial(read_lost, self.paths)
        self.gathering = Gathering(self.config, self.fleet, self.clock, self.reporter, lost)
        self.intake = Intake(self.config)
        plan = self.config.privacy
        self.private = None if plan is None else PrivateQuestions(plan, self.gathering)

    def run(self) -> Reason:
        """All rounds and the model file; Completed or StoppedByMetric. Raises RunFailedError and DrainedError."""
        resumed = self.state.restore(self._checkpoint)
        self._publish_state()
        stopped = self._stops() if resumed else False
        if not stopped and self.state.completed < self.config.rounds:
            self.gathering.wait_for_start(self._expected())
            if not resumed:
                self._initialise()
            self.reporter.update(phase="Running")
        while not stopped and self.state.completed < self.config.rounds:
            self._round(self.state.completed + 1)
            stopped = self._stops()
            last = stopped or self.state.completed == self.config.rounds
            if last or self.state.completed % self.config.checkpoint_every_rounds == 0:
                self.state.save(self._checkpoint)
            self._publish_state()
        self._write_model()
        return Reason.STOPPED_BY_METRIC if stopped else Reason.COMPLETED

    @property
    def _checkpoint(self) -> Path:
        return checkpoint_file(self.paths.state)

    def _expected(self) -> frozenset[int]:
        """Whom to wait for at the start; a resumed run does not wait again for who was missing before."""
        missing = set(self.state.history[-1].missing) if self.state.history else set()
        return frozenset(p.index for p in self.config.participants if p.name not in missing)

    def _stops(self) -> bool:
        """Whether a stopWhen rule holds. Judged on the published number, so that a resumed run judges alike."""
        if not self.state.history:
            return False
        metrics = {name: float(text) for name, text in self.state.history[-1].metrics.items()}
        return stop_rule(self.config.stop_when, metrics) is not None

    def _publish_state(self) -> None:
        self.reporter.update(
            completed=self.state.completed, rounds=self.state.history, contributed=self.state.contributed
        )

    # -- before round 1

    def _initialise(self) -> None:
        """Initial model from the first participant that has one, then federated statistics if the app wants them."""
        arrays, app = self._first_model()
        if not arrays or not finite(arrays):
            raise RunFailedError(
                ExitCode.SERVER_APP_FAILED,
                "the app's initial model is empty or not finite: check @app.query('initial')",
            )
        self.state.arrays = arrays
        self.state.model_metadata = str(app.get("model", ""))
        if self.private is not None:
            self.state.statistics = self.private.statistics(app)
        elif app.get("statistics"):
            self.state.statistics = self.gathering.statistics()
        self.state.save(self._checkpoint)

    def _first_model(self) -> tuple[Arrays, Mapping[str, Any]]:
        if self.private is not None:
            return self.private.initial()
        answer = self._ask_initial()
        return answer.arrays or {}, answer.records.get("app", {})

    def _ask_initial(self) -> Answer:
        hopeless: set[int] = set()
        while True:
            for index in self.gathering.present(None):
                if index in hopeless:
                    continue
                answer = self.fleet.ask(Question(INITIAL, 0), [index], float(self.config.round_timeout_seconds))[index]
                if answer.failure is None:
                    self.gathering.enough()
                    return answer
                self.reporter.reasons[index] = answer.failure
                if answer.failure in APP_CAUSED:
                    hopeless.add(index)
                if answer.failure == Reason.APP_ERROR:
                    raise RunFailedError(
                        ExitCode.SERVER_APP_FAILED,
                        'the ClientApp gave no initial model: register @app.query("initial") or name a serverApp',
                    )
            self.gathering.short("no initial model", self.gathering.everyone)
            self.clock.sleep(REPEAT_PAUSE_SECONDS)

    # -- a round

    def _round(self, number: int) -> None:
        """Train until a quorum of updates makes the next model, then evaluate it."""
        started = self.clock.monotonic()
        self.reporter.update(phase="Running", round_started_at=self.clock.now())
        seed = int(self.state.random.integers(0, 2**31))
        present, updates, reasons, arrays, sent = self._train(number, seed)
        metrics = self._evaluate(number, seed, present, arrays, reasons)
        in_it = {update.participant for update in updates}
        missing = [name for name in self.gathering.names(self.gathering.everyone) if name not in in_it]
        record = round_record(
            number=number,
            contributed=len(updates),
            missing=missing,
            reasons={name: reasons.get(name, str(Reason.NOT_CONNECTED)) for name in [*missing, *reasons]},
            seconds=self.clock.monotonic() - started,
            metrics=metrics,
            digest=arrays_digest(arrays),
            sent=sent,
        )
        self.state.close_round(record, arrays, [update.participant for update in updates])

    def _train(self, number: int, seed: int) -> tuple[list[int], list[Update], dict[str, str], Arrays, int]:
        """Repeat until there are a quorum of updates and a finite aggregate of them."""
        hopeless = 0
        while True:
            # A private job's late participants are not asked for statistics: each answer would cost them.
            present = self.gathering.present(None if self.private else self.state.statistics)
            config = self._config(number, seed) | self.state.strategy.train_config()
            answers = self._ask(TRAIN, number, self.state.arrays, config, present)
            taken = {i: self.intake.take(i, answers[i], number, self.state.arrays) for i in present}
            failures = {i: found for i, found in taken.items() if isinstance(found, Reason)}
            updates = [found for found in taken.values() if isinstance(found, Update)]
            good = [i for i in present if i not in failures]
            reasons = self._note(failures, good)
            if self.config.on_dropout == "Fail" and len(good) < len(self.gathering.everyone):
                self.gathering.drop(frozenset(good))
            if len(good) >= self.config.quorum:
                try:
                    shared = self.intake.shared(self.state.arrays)
                    arrays = self.state.arrays | self.state.strategy.aggregate(shared, updates)
                    if not finite(arrays):
                        raise AggregationError("the aggregate is not finite")
                except AggregationError as error:
                    told = f"round {number} is repeated: {error}"
                else:
                    self.gathering.enough()
                    return present, updates, reasons, arrays, sum(size(answers[i]) for i in good)
            else:
                told = f"round {number} is repeated, {len(good)} updates"
            causes = set(failures.values())
            hopeless = hopeless + 1 if len(present) >= self.config.quorum and causes <= APP_CAUSED else 0
            if hopeless >= HOPELESS_REPEATS and self.config.on_dropout == "SkipRound":
                raise RunFailedError(ExitCode.QUORUM_LOST, f"{told}: {told_of(reasons)}")
            self.gathering.short(told, self.gathering.everyone - frozenset(good))
            self.clock.sleep(REPEAT_PAUSE_SECONDS)

    def _evaluate(
        self, number: int, seed: int, present: list[int], arrays: Arrays, reasons: dict[str, str]
    ) -> dict[str, float]:
        """Metrics over all participants; whose reply is refused is named in `reasons`. None where none are released."""
        if self.private is not None and not self.private.plan.evaluates(number):
            return {}
        answers = self._ask(EVALUATE, number, arrays, self._config(number, seed), present)
        told: list[Answer] = []
        failures: dict[int, Reason] = {}
        for index in present:
            answer = answers[index]
            if (failure := answer.failure or metric_refusal(answer)) is not None:
                failures[index] = failure
            else:
                told.append(answer)
        for name, reason in self._note(failures, []).items():
            reasons.setdefault(name, reason)
        if self.private is not None:
            return metrics_of(told)
        return weighted_mean([(scalars(a), int(a.metrics[NUM_EXAMPLES])) for a in told])

    def _config(self, number: int, seed: int) -> Config:
        return {"server-round": number, "round-seed": seed}

    def _ask(self, kind: str, number: int, arrays: Arrays, config: Config, to: list[int]) -> dict[int, Answer]:
        configs: dict[str, Config] = {"config": config}
        if self.state.statistics is not None:
            configs["statistics"] = {key: self.state.statistics[key] for key in ("mean", "scale")}
        question = Question(kind, number, arrays, configs)
        answers = self.fleet.ask(question, to, float(self.config.round_timeout_seconds))
        self.reporter.heard(
            i for i, a in answers.items() if a.failure not in (Reason.ROUND_TIMEOUT, Reason.NOT_CONNECTED)
        )
        return answers

    def _note(self, failures: dict[int, Reason], good: list[int]) -> dict[str, str]:
        """Keep the newest reason of each participant for the progress; the same by name."""
        for index in good:
            self.reporter.reasons.pop(index, None)
        self.reporter.reasons.update({i: str(r) for i, r in failures.items()})
        return {self.gathering.names([i])[0]: str(r) for i, r in failures.items()}

    # -- the end

    def _write_model(self) -> None:
        state = self.state
        about = model_about(self.config, state.model_metadata, state.statistics, state.completed)
        self.reporter.model = written(self.config, self.paths, state.arrays, about)
