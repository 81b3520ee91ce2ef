"""A fleet in memory and a clock that only moves when somebody sleeps."""

import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hanse.api.conditions import Reason
from hanse.api.job import Aggregation, StopRule
from hanse.api.participation import JobRef
from hanse.api.paths import Paths
from hanse.api.progress import Progress
from hanse.api.runconfig import RunConfig, ServerParticipant
from hanse.runtime.aggregation import Arrays
from hanse.runtime.flower.rounds import Federation
from hanse.runtime.flower.rounds_fleet import Answer, DrainedError, Question
from hanse.runtime.flower.rounds_report import Reporter

_START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@dataclass
class FakeClock:
    """Time passes by sleeping; `at` runs something when a moment is reached."""

    seconds: float = 0.0
    drained: bool = False
    events: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def now(self) -> datetime.datetime:
        return _START + datetime.timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        for moment, action in list(self.events):
            if moment <= self.seconds:
                self.events.remove((moment, action))
                action()
        if self.drained:
            raise DrainedError
        if self.seconds > 100_000:
            raise AssertionError("the loop waits for ever")

    def at(self, moment: float, action: Callable[[], None]) -> None:
        self.events.append((moment, action))


Behaviour = Callable[[Question, int], Answer | None]


def initial_arrays() -> Arrays:
    return {"w": np.zeros(4, np.float32), "b": np.full(2, 0.5, np.float32)}


def honest(question: Question, index: int) -> Answer:
    """Deterministic: pulls the model towards (index + 1)."""
    if question.kind == "query.initial":
        return Answer(arrays=initial_arrays(), records={"app": {"statistics": False, "model": "{}"}})
    if question.kind == "query.statistics":
        return statistics(["age", "income"])
    assert question.arrays is not None
    target = np.float32(index + 1 + 0.1 * question.number)
    loss = float(sum(np.square(a - target).mean() for a in question.arrays.values()))
    metrics: dict[str, Any] = {"num-examples": 10 * (index + 1), "loss": loss, "auc": 0.5 + 0.01 * question.number}
    if question.kind == "evaluate":
        return Answer(metrics=metrics)
    moved = {n: (a + (target - a) * np.float32(0.3)).astype(a.dtype) for n, a in question.arrays.items()}
    return Answer(arrays=moved, metrics=metrics)


def statistics(features: list[str], label: str = "default") -> Answer:
    numbers = {"count": 2, "sum": [2.0] * len(features), "sum-squares": [4.0] * len(features)}
    return Answer(records={"statistics": numbers, "schema": {"features": features, "label": label}})


@dataclass
class MemoryFleet:
    """Participants as functions; None as an answer is silence until the time-out."""

    clock: FakeClock
    behaviour: Behaviour = honest
    online: set[int] = field(default_factory=set)
    questions: list[tuple[str, int, tuple[int, ...]]] = field(default_factory=list)
    reverse: bool = False

    def connected(self) -> frozenset[int]:
        return frozenset(self.online)

    def ask(self, question: Question, to: Sequence[int], timeout: float) -> dict[int, Answer]:
        self.questions.append((question.kind, question.number, tuple(to)))
        answers: dict[int, Answer] = {}
        for index in reversed(to) if self.reverse else to:
            answer = self.behaviour(question, index) if index in self.online else Answer(failure=Reason.NOT_CONNECTED)
            answers[index] = answer if answer is not None else Answer(failure=Reason.ROUND_TIMEOUT)
        if any(a.failure == Reason.ROUND_TIMEOUT for a in answers.values()):
            self.clock.sleep(timeout)
        return answers

    def rounds(self, kind: str = "train") -> list[tuple[int, tuple[int, ...]]]:
        return [(number, to) for name, number, to in self.questions if name == kind]


@dataclass
class Scene:
    """A federation with fakes around it."""

    root: Path
    config: RunConfig
    clock: FakeClock
    fleet: MemoryFleet
    published: list[Progress]
    federation: Federation

    @property
    def last(self) -> Progress:
        return self.federation.reporter.progress()


def make_config(clients: int = 3, **settings: Any) -> RunConfig:
    """A run's config as small as it can be."""
    return RunConfig(
        job=JobRef(namespace="n", name="j", uid=settings.pop("uid", "00000000-0000-4000-8000-000000000001")),
        client_app="a:b",
        **(
            {
                "participants": [ServerParticipant(name=f"p{i}", index=i, public_key=f"k{i}") for i in range(clients)],
                "quorum": clients,
                "rounds": 4,
                "start_timeout_seconds": 60,
                "round_timeout_seconds": 10,
                "aggregation": Aggregation(),
            }
            | settings
        ),
    )


def scene(root: Path, clients: int = 3, *, behaviour: Behaviour = honest, **settings: Any) -> Scene:
    """All participants are online unless the test says otherwise."""
    config = make_config(clients, **settings)
    clock = FakeClock()
    fleet = MemoryFleet(clock, behaviour, set(range(clients)))
    published: list[Progress] = []
    federation = Federation(config, Paths(root), fleet, clock, Reporter(config, published.append, clock.now))
    return Scene(root, config, clock, fleet, published, federation)


def failing(reason: Reason | None, index: int, rounds: Iterator[int] | range, kind: str = "train") -> Behaviour:
    """`index` fails in `rounds` (None: stays silent); all others are honest."""
    when = set(rounds)

    def behave(question: Question, who: int) -> Answer | None:
        if who == index and question.kind == kind and question.number in when:
            return None if reason is None else Answer(failure=reason)
        return honest(question, who)

    return behave


def stop(metric: str, operator: str, value: str) -> list[StopRule]:
    return [StopRule.model_validate({"metric": metric, "operator": operator, "value": value})]
