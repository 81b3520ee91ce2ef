"""Rounds of an encrypted job at three gates: the model is what plain arithmetic gives, bit for bit."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict

from hanse.api.aggregation import Aggregation
from hanse.api.compression import Compression, Sparsity
from hanse.api.privacy import PrivacyPlan
from hanse.api.replies import ReplyCode
from hanse.runtime.aggregation import arrays_digest
from hanse.runtime.agreement import messages as m
from hanse.runtime.codec import Layout, SumCodec
from hanse.runtime.flower import wire
from hanse.runtime.gate.encrypted_workers import Workers
from hanse.runtime.he import Points
from hanse.runtime.shared import SharedModel
from tests.unit.runtime.gate.encrypted_fleet import MODEL, NAMES, RECORD, SILO, Fleet
from tests.unit.runtime.gate.encrypted_gate import HERE, GateRefused, refused, request, step
from tests.unit.runtime.gate.honest_server import Server
from tests.unit.runtime.gate.memory_fleet import Stage, letter

pytestmark = pytest.mark.protocol

FED_ADAM = Aggregation(strategy="FedAdam", server_learning_rate="0.05")
SHARED = RECORD.model_copy(update={"mechanism": "Distributed", "quorum": 2, "collusion_threshold": 0})
ROUNDS = 5


@pytest.fixture
def fleets() -> Iterator[list[Fleet]]:
    made: list[Fleet] = []
    yield made
    for fleet in made:
        fleet.close()


class Plain:
    """The same job without encryption: integers are added in the clear."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.layout = fleet, Layout.of(fleet.model, ())
        private = fleet.privacy is not None
        self.model = SharedModel.first(
            fleet.model,
            self.layout,
            fleet.aggregation,
            members=fleet.members,
            rounds=fleet.plan.rounds,
            range=None if private else 1.0,
        )
        self.carried: dict[str, Any] = {}

    def codec(self, number: int) -> SumCodec:
        fleet = self.fleet
        members = [(float(member.scale), float(member.mass)) for member in fleet.plan.roster]
        agreement = fleet.roster.agreement
        return SumCodec.of(self.layout, number, agreement, members, fleet.privacy, fleet.compression, self.model.range)

    def points(self, number: int, name: str) -> Points:
        """What a participant sends; without noise."""
        after = self.fleet.gate[name].train(name, number, self.model.arrays)
        update = self.layout.flatten(after) - self.model.vector()
        index = self.fleet.members.index(name)
        made = self.codec(number).quantise(update, index, None, self.carried.get(name))
        self.carried[name] = made.carried
        return made.points

    def apply(self, number: int, points: dict[str, Points]) -> None:
        """The sum of what was sent becomes the model."""
        codec = self.codec(number)
        mass = math.fsum(float(self.fleet.plan.member(name).mass) for name in points)
        mean = codec.mean(np.sum(list(points.values()), axis=0), mass)
        record = self.fleet.privacy is not None and self.fleet.privacy.unit == "Record"
        rate = 0.05 if record else None
        self.model.commit(self.model.apply(number, mean, points.keys(), rate, amplification=codec.amplification))


def spy(sent: list[tuple[int, Points]]) -> Workers:
    """Workers whose plain points are kept: what only the gate itself sees."""

    class Spy(HERE.cipher):  # type: ignore[misc, name-defined]
        def encrypt(self, round: int, points: Points) -> bytes:
            sent.append((round, points.copy()))
            return bytes(super().encrypt(round, points))

    return Workers(Spy, HERE.summing)


@pytest.mark.parametrize("aggregation", [Aggregation(), FED_ADAM], ids=["FedAvg", "FedAdam"])
@pytest.mark.parametrize("privacy", [None, SILO, RECORD, SHARED], ids=["open", "silo", "record", "record-distributed"])
def test_the_model_is_what_the_same_arithmetic_gives_without_encryption(
    tmp_path: Path, fleets: list[Fleet], privacy: PrivacyPlan | None, aggregation: Aggregation
) -> None:
    sent: list[tuple[int, Points]] = []
    fleet = Fleet(tmp_path, privacy=privacy, aggregation=aggregation, workers=spy(sent))
    fleets.append(fleet)
    server, plain = Server(fleet), Plain(fleet)
    server.keys()
    for number in range(1, ROUNDS + 1):
        server.round(number)
        ours = dict(zip(NAMES, (points for at, points in sent if at == number), strict=True))
        if privacy is None:
            for name in NAMES:  # and what is sent is what a rounding of the update gives
                assert np.array_equal(ours[name], plain.points(number, name))
        plain.apply(number, ours)
        words = server.commit.applied if server.commit else []
        assert [(word.model, word.state) for word in words] == [plain.model.digests] * len(NAMES)
    if privacy is not None:
        assert all(fleet.paid(name) == [f"Train-{n}-1" for n in range(1, ROUNDS + 1)] for name in NAMES)


def test_the_mean_is_near_that_of_plain_updates(tmp_path: Path, fleets: list[Fleet]) -> None:
    """Nearest rounding: at most (K/2 + 1) * 2^-19 of what a lane's range stands for."""
    fleet = Fleet(tmp_path)
    fleets.append(fleet)
    server = Server(fleet)
    server.keys()
    server.round(1)
    scale = {name: float(fleet.plan.member(name).scale) for name in NAMES}
    after = {name: step(name, 1, MODEL) for name in NAMES}
    model = server.model("bank-a", server.release())
    for key, found in model.arrays().items():
        mean = sum(scale[n] * after[n][key].astype(np.float64) for n in NAMES) / sum(scale.values())
        steps = Plain(fleet).codec(1).grid.step
        assert np.abs(found - mean).max() <= (len(NAMES) / 2 + 1) * steps + 1e-7


@pytest.mark.parametrize("scheme", ["BFV", "CKKS"])
def test_worker_processes_give_the_same_model(tmp_path: Path, fleets: list[Fleet], scheme: Any) -> None:
    found = []
    for name, workers in (("a", Workers()), ("b", HERE)):
        fleet = Fleet(tmp_path / name, scheme=scheme, workers=workers)
        fleets.append(fleet)
        server = Server(fleet)
        server.keys()
        found.append([server.round(n).applied[0].model for n in (1, 2)])
    assert found[0] == found[1]


def test_of_a_training_nothing_leaves_but_ciphertext_and_the_count(tmp_path: Path, fleets: list[Fleet]) -> None:
    fleet = Fleet(tmp_path)
    fleets.append(fleet)
    server = Server(fleet)
    server.keys()
    reply = fleet.gate["bank-b"].ask(m.TRAIN, request(m.TrainRequest(attempt=1), number=1)).records
    assert set(reply) == {m.RECORD, m.UPDATE, "metrics"}
    assert dict(reply.metric_records["metrics"]) == {"num-examples": 60}, "the owner's declared number, not the app's"
    assert set(reply.array_records[m.UPDATE]) == {m.CIPHERTEXT}
    initial = fleet.gate["bank-b"].ask("query.initial", request()).records
    assert set(initial) == {"app", m.RECORD}
    assert dict(initial.config_records[m.RECORD]) == {"points": 43}


def test_evaluation_is_of_the_committed_model_and_its_metrics_leave(tmp_path: Path, fleets: list[Fleet]) -> None:
    fleet = Fleet(tmp_path)
    fleets.append(fleet)
    server = Server(fleet)
    server.keys()
    before = server.evaluate("bank-a", 1).records.metric_records["metrics"]["loss"]
    server.round(1)
    metrics = server.evaluate("bank-a", 1).records.metric_records["metrics"]
    assert metrics["loss"] != before
    assert fleet.gate["bank-a"].running._parts.held.model.round == 1, "the commit came with the message"


@pytest.mark.parametrize("privacy", [None, SILO], ids=["open", "silo"])
def test_who_is_away_is_in_no_denominator_and_follows(
    tmp_path: Path, fleets: list[Fleet], privacy: PrivacyPlan | None
) -> None:
    sent: list[tuple[int, Points]] = []
    fleet = Fleet(tmp_path, privacy=privacy, workers=spy(sent))
    fleets.append(fleet)
    server, plain = Server(fleet), Plain(fleet)
    server.keys()
    present = [NAMES, ("bank-a", "bank-c"), NAMES]
    for number, here in enumerate(present, 1):
        commit = server.round(number, here)
        plain.apply(number, dict(zip(here, (p for at, p in sent if at == number), strict=True)))
        assert commit.applied[0].model == plain.model.digests.model
    # bank-b has missed round 2 and was restored.
    assert fleet.gate["bank-b"].trained == [1, 3]


def test_a_void_round_is_spent_and_the_next_one_starts_from_the_same_model(tmp_path: Path, fleets: list[Fleet]) -> None:
    fleet = Fleet(tmp_path)
    fleets.append(fleet)
    server = Server(fleet)
    server.keys()
    server.round(1)
    listed = [server.train(name, 2) for name in NAMES]
    message = server.agree(2, listed, NAMES, NAMES[:2])
    server.apply("bank-a", message, server.add(listed))  # the others never hear of it
    commit = server.round(3)
    assert commit.applied[0].base == 1
    assert len(commit.applied) == 3
    with refused(ReplyCode.STALE_ROUND):
        server.train("bank-a", 2)


@pytest.mark.parametrize("feedback", [True, False])
def test_random_k_sends_a_share_of_the_points(tmp_path: Path, fleets: list[Fleet], feedback: bool) -> None:
    compression = Compression(sparsity=Sparsity(fraction="0.25"), error_feedback=feedback)
    sent: list[tuple[int, Points]] = []
    fleet = Fleet(tmp_path, compression=compression, workers=spy(sent))
    fleets.append(fleet)
    server, plain = Server(fleet), Plain(fleet)
    server.keys()
    for number in (1, 2, 3):
        commit = server.round(number)
        ours = dict(zip(NAMES, (p for at, p in sent if at == number), strict=True))
        for name in NAMES:
            assert ours[name].shape == (11,)
            assert np.array_equal(ours[name], plain.points(number, name))
        plain.apply(number, ours)
        assert commit.applied[0].model == plain.model.digests.model


def test_what_is_left_over_is_carried_only_from_rounds_that_counted(tmp_path: Path, fleets: list[Fleet]) -> None:
    sent: list[tuple[int, Points]] = []
    fleet = Fleet(tmp_path, workers=spy(sent))
    fleets.append(fleet)
    server, plain = Server(fleet), Plain(fleet)
    server.keys()
    server.round(1)
    points = {name: plain.points(1, name) for name in NAMES}
    plain.apply(1, points)
    carried = dict(plain.carried)
    for name in NAMES:
        server.train(name, 2)  # void: nobody is asked for a vote
    server.round(3)
    plain.carried = carried
    for name, found in zip(NAMES, (p for at, p in sent if at == 3), strict=True):
        assert np.array_equal(found, plain.points(3, name))


def test_an_update_that_is_too_large_saturates_and_the_range_follows(tmp_path: Path, fleets: list[Fleet]) -> None:
    fleet = Fleet(tmp_path, train=lambda _, __, arrays: {n: a + np.float32(3) for n, a in arrays.items()})
    fleets.append(fleet)
    server = Server(fleet)
    server.keys()
    moved = []
    for number in (1, 2, 3):
        server.round(number)
        server.evaluate("bank-a", number)  # brings the commit
        moved.append(fleet.gate["bank-a"].running._parts.held.model.range)
    assert moved == [2.0, 4.0, 8.0]


@pytest.mark.parametrize("privacy", [None, SILO])
def test_the_app_is_asked_a_bounded_number_of_times(
    tmp_path: Path, fleets: list[Fleet], privacy: PrivacyPlan | None
) -> None:
    """A hostile app chooses which code it gets: it may say little that way."""
    fleet = Fleet(
        tmp_path, privacy=privacy, train=lambda _, __, arrays: {n: a * np.float32(np.nan) for n, a in arrays.items()}
    )
    fleets.append(fleet)
    server = Server(fleet)
    server.keys()
    for _ in range(20):
        with pytest.raises(GateRefused):
            server.train("bank-a", 1)
    assert len(fleet.gate["bank-a"].trained) == 5
    assert fleet.paid("bank-a") == []


@pytest.mark.parametrize(
    "kind", ["train.other", "evaluate.other", "query.rows", "query", "query.he_other", "query.hanse_end", "system"]
)
def test_what_is_no_message_of_the_protocol_is_refused(tmp_path: Path, fleets: list[Fleet], kind: str) -> None:
    fleet = Fleet(tmp_path)
    fleets.append(fleet)
    Server(fleet).keys()
    with refused(ReplyCode.NOT_ALLOWED_IN_REPLY):
        fleet.gate["bank-a"].ask(kind, request(m.HelloRequest()))


@pytest.mark.parametrize("kind", [m.HELLO, m.WRAP, m.JOIN, m.CONFIRMED, m.VERIFY, m.APPLY, m.RESTORE, m.TRAIN, m.MODEL])
def test_a_text_that_is_none_is_refused(tmp_path: Path, fleets: list[Fleet], kind: str) -> None:
    fleet = Fleet(tmp_path)
    fleets.append(fleet)
    with refused(ReplyCode.SIGNATURE_INVALID):
        fleet.gate["bank-a"].ask(kind, request())


def test_a_model_that_the_server_sends_is_not_used(tmp_path: Path, fleets: list[Fleet]) -> None:
    seen = []

    def train(name: str, number: int, arrays: Any) -> Any:
        seen.append({key: value.copy() for key, value in arrays.items()})
        return step(name, number, arrays)

    fleet = Fleet(tmp_path, train=train)
    fleets.append(fleet)
    Server(fleet).keys()
    fleet.gate["bank-a"].ask(
        m.TRAIN, request(m.TrainRequest(attempt=1), {"arrays": {"imprint": b"\1" * 8}, "more": {"x": b"1"}}, number=1)
    )
    assert seen[0].keys() == MODEL.keys()
    assert all(np.array_equal(seen[0][key], MODEL[key]) for key in MODEL)


def test_through_a_session_the_trainer_gets_the_shared_model_and_the_server_ciphertext(
    tmp_path: Path, fleets: list[Fleet]
) -> None:
    fleet = Fleet(tmp_path)
    fleets.append(fleet)
    Server(fleet).keys()
    gate = fleet.gate["bank-a"]
    stage = Stage(tmp_path / "session", chosen=gate.running)
    stage.send(letter(request(m.HelloRequest()), m.HELLO, "m0"))
    assert isinstance(stage.answer(), RecordDict)
    stage.send(letter(request(m.TrainRequest(attempt=1), number=1), m.TRAIN, "m1"))
    frame = stage.hear("message")
    content = wire.unpack(list(frame.blobs[: frame.meta["split"]]))
    assert set(content) == {"arrays", "config"}
    arrays = {name: array.numpy() for name, array in content.array_records["arrays"].items()}
    assert arrays_digest(arrays) == arrays_digest(fleet.model)
    moved = ArrayRecord({name: Array(value) for name, value in step("bank-a", 1, arrays).items()})
    stage.reply(RecordDict({"arrays": moved, "metrics": MetricRecord({"num-examples": 1})}))
    left = stage.answer()
    assert isinstance(left, RecordDict)
    assert set(left) == {m.RECORD, m.UPDATE, "metrics"}
    stage.finish()
