"""An encrypted job in memory: the server's loop over the real gates of `tests.unit.runtime.gate.encrypted_fleet`.

Between them Flower's records, as they travel; no socket and no worker process. Keys and signatures are real; updates
are encrypted where a test asks for it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flwr.app.message import make_message
from flwr.app.metadata import Metadata

from hanse.api.conditions import Reason
from hanse.api.encryption import EncryptingScheme, Half, Scheme
from hanse.api.participation import JobRef
from hanse.api.paths import Paths
from hanse.api.progress import Progress
from hanse.api.replies import reason_for
from hanse.api.runconfig import RunConfig, ServerParticipant
from hanse.runtime.flower import rounds_sums, rounds_training, rounds_votes
from hanse.runtime.flower.rounds_encrypted import EncryptedFederation
from hanse.runtime.flower.rounds_fleet import Answer, Question, Seen
from hanse.runtime.flower.rounds_report import Reporter
from hanse.runtime.flower.server_app import to_answer, to_records
from hanse.runtime.gate import encrypted_build, encrypted_round
from hanse.runtime.gate.encrypted_workers import Workers
from hanse.runtime.he import Cipher, Points, Summing, engine_of, join_total, split_total, split_upload, uploads
from tests.unit.runtime.gate.encrypted_fleet import Fleet
from tests.unit.runtime.gate.encrypted_gate import HERE, Gate, GateRefused
from tests.unit.runtime.gate.sample_job import UID
from tests.unit.runtime.server.memory_fleet import FakeClock

#: Settings that the server's config and the gates' have in common.
_COMMON = ("aggregation", "compression", "privacy")
_OF_SERVER = (
    "start_timeout_seconds",
    "round_timeout_seconds",
    "on_dropout",
    "stop_when",
    "checkpoint_every_rounds",
)


class Killed(BaseException):
    """Stands for kill -9 of the aggregator."""


def nothing(question: Question, index: int) -> Answer | None:
    """The gate itself answers."""
    return None


def unchanged(question: Question, index: int, answer: Answer) -> Answer:
    """What a gate said is what the server hears."""
    return answer


@dataclass
class GateFleet:
    """The gates of a job. `before` may answer in a gate's place or raise; `after` may change what it said, or raise."""

    gates: Sequence[Gate]
    clock: FakeClock
    online: set[int]
    before: Callable[[Question, int], Answer | None] = nothing
    after: Callable[[Question, int, Answer], Answer] = unchanged
    questions: list[tuple[str, int, tuple[int, ...]]] = field(default_factory=list)
    #: Those of them that carry bytes.
    heavy: list[tuple[str, int, tuple[int, ...]]] = field(default_factory=list)
    #: Kinds of what was asked at once.
    exchanges: list[str] = field(default_factory=list)

    def connected(self) -> frozenset[int]:
        return frozenset(self.online)

    def ask(self, question: Question, to: Sequence[int], timeout: float) -> dict[int, Answer]:
        return self.ask_each(dict.fromkeys(to, question), timeout)

    def ask_each(
        self, questions: Mapping[int, Question], timeout: float, seen: Seen | None = None
    ) -> dict[int, Answer]:
        for question in {id(q): q for q in questions.values()}.values():
            to = tuple(i for i, q in questions.items() if q is question)
            self.questions.append((question.kind, question.number, to))
            if question.arrays is not None:
                self.heavy.append(self.questions[-1])
        self.exchanges.append(next(iter(questions.values())).kind if questions else "")
        answers: dict[int, Answer] = {}
        for index, question in questions.items():
            answers[index] = self._answer(question, index)
            if seen is not None and answers[index].failure is not Reason.ROUND_TIMEOUT:
                seen(index, answers[index])
        if any(a.failure is Reason.ROUND_TIMEOUT for a in answers.values()):
            self.clock.sleep(timeout)
        return answers

    def _answer(self, question: Question, index: int) -> Answer:
        if index not in self.online:
            return Answer(failure=Reason.NOT_CONNECTED)
        if (instead := self.before(question, index)) is not None:
            return instead
        return self.after(question, index, self._asked(question, index))

    def _asked(self, question: Question, index: int) -> Answer:
        try:
            reply = self.gates[index].ask(question.kind, to_records(question))
        except GateRefused as refused:
            return Answer(failure=reason_for(refused.code or 0))
        metadata = Metadata(1, "m", 1, 0, "", "1", 0.0, 60.0, question.kind)
        return to_answer(make_message(metadata=metadata, content=reply.records))

    def heavy_of(self, kind: str) -> list[tuple[int, ...]]:
        """Who was sent bytes in messages of this kind."""
        return [to for name, _, to in self.heavy if name == kind]

    def rounds(self, kind: str) -> list[tuple[int, tuple[int, ...]]]:
        """What was asked of this kind: round and participants."""
        return [(number, to) for name, number, to in self.questions if name == kind]


@dataclass
class Scene:
    """A job: its gates live on when the aggregator is killed and `restart` makes another one."""

    root: Path
    config: RunConfig
    clock: FakeClock
    job: Fleet
    fleet: GateFleet
    published: list[Progress] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new aggregator over the same volume and gates, and no more faults."""
        self.fleet.before, self.fleet.after = nothing, unchanged
        reporter = Reporter(self.config, self.published.append, self.clock.now)
        paths = Paths(self.root / "server")
        self.federation = EncryptedFederation(self.config, paths, self.fleet, self.clock, reporter)

    def run(self) -> Reason:
        return self.federation.run()

    @property
    def last(self) -> Progress:
        return self.federation.reporter.progress()

    @property
    def contributed(self) -> list[int]:
        """How many updates were in each round, oldest first."""
        return [record.contributed for record in reversed(self.last.rounds)]

    def stands(self) -> list[tuple[int, str]]:
        """Round and digest of each gate's committed model."""
        return [gate.running._parts.held.reached for gate in self.fleet.gates]

    def kill(self, index: int) -> None:
        """kill -9 of a gate: a new process finds its files."""
        self.fleet.gates[index].kill()

    def replace(self, index: int) -> None:
        """The gate's pod is replaced: nothing of what it had written is left."""
        self.fleet.gates[index].replace()

    def replace_at(self, kind: str, number: int, *gates: int) -> None:
        """The pods of `gates` are replaced when the first of them is asked this for the first time."""
        done: list[int] = []

        def before(question: Question, index: int) -> Answer | None:
            if (question.kind, question.number) == (kind, number) and index == gates[0] and not done:
                for gate in gates:
                    done.append(gate)
                    self.replace(gate)
            return None

        self.fleet.before = before

    def killed_at(self, kind: str, number: int, index: int | None = 0) -> None:
        """Run until the aggregator dies at this question; `index`: to which gate, None for the first that is asked."""

        def before(question: Question, who: int) -> Answer | None:
            if (question.kind, question.number) == (kind, number) and index in (None, who):
                raise Killed
            return None

        self.fleet.before = before
        with pytest.raises(Killed):
            self.run()


class _PlainCipher(Cipher):
    """Points as they are, in this process."""

    def __init__(self, scheme: EncryptingScheme, key: bytes, processes: int | None = None) -> None:
        self._plain, self._job_key = engine_of("None"), key

    def encrypt(self, round: int, points: Points) -> bytes:
        return self._plain.encrypt(self._job_key, points)

    def decrypt(self, round: int, total: bytes | memoryview, count: int) -> Points:
        return self._plain.decrypt(self._job_key, total, count)

    def close(self) -> None:
        pass


class _PlainSumming(Summing):
    """Their sum, in this process."""

    def __init__(self, scheme: Scheme, count: int, most: int = 0, half: Half | None = None) -> None:
        self._plain, self._points, self._half = engine_of("None"), count, half
        self._given: list[bytes | memoryview] = []

    def add(self, ciphertext: bytes | memoryview) -> None:
        self._plain.add([ciphertext], self._points, self._half)
        self._given.append(ciphertext)

    def total(self) -> bytes:
        return self._plain.add(self._given, self._points, self._half)

    def reset(self, half: Half | None = None) -> None:
        self._given, self._half = [], half

    def close(self) -> None:
        pass


def _cut_plain(cut: Callable[..., Any], scheme: Scheme, data: Any, count: int) -> Any:
    return cut("None", data, count)


def quick(patch: pytest.MonkeyPatch) -> Workers:
    """The engine that encrypts nothing: the loop does not care, and every kill at every message can be tried."""
    patch.setattr(encrypted_build, "engine_of", lambda scheme: engine_of("None"))
    patch.setattr(rounds_training, "Summing", _PlainSumming)
    for cut in (split_upload, split_total, join_total):
        for part in (rounds_sums, rounds_votes, encrypted_round, uploads):
            if hasattr(part, cut.__name__):
                patch.setattr(part, cut.__name__, partial(_cut_plain, cut))
    return Workers(_PlainCipher, _PlainSumming)


def encrypting(patch: pytest.MonkeyPatch) -> Workers:
    """The real engine, in this process: a worker process for each test would take longer than the test."""
    patch.setattr(rounds_training, "Summing", HERE.summing)
    return HERE


def scene(root: Path, workers: Workers, clients: int = 3, *, rounds: int = 4, **settings: Any) -> Scene:
    """All participants are online unless the test says otherwise."""
    server = {key: settings.pop(key) for key in _OF_SERVER if key in settings}
    quorum = settings.setdefault("quorum", clients)
    job = Fleet(root, members=[f"p{i}" for i in range(clients)], rounds=rounds, workers=workers, **settings)
    common = {key: settings[key] for key in _COMMON if key in settings}
    timeouts = {"start_timeout_seconds": 60, "round_timeout_seconds": 10}
    config = RunConfig(
        job=JobRef(namespace="consortium", name="credit", uid=UID),
        client_app="app:app",
        participants=[ServerParticipant(name=f"p{i}", index=i, public_key=f"k{i}") for i in range(clients)],
        quorum=quorum,
        rounds=rounds,
        encryption=job.plan,
        **(timeouts | common | server),
    )
    clock = FakeClock()
    return Scene(root, config, clock, job, GateFleet(list(job.gate.values()), clock, set(range(clients))))


def kinds(questions: Iterable[tuple[str, int, tuple[int, ...]]]) -> list[str]:
    """Names of what was asked, in order."""
    return [kind for kind, _, _ in questions]
