"""The key of an encrypted job at its gates, and how the plain model leaves them: once, with everybody's word."""

import hashlib
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanse.api.certificate import SignedCertificate
from hanse.api.privacy import EvaluationPlan, StatisticsPlan
from hanse.api.replies import ReplyCode
from hanse.dp import certified
from hanse.pki.identity import new_identity, verifies
from hanse.runtime.aggregation import arrays_digest
from hanse.runtime.aggregation.model import read_model
from hanse.runtime.agreement import messages as m
from hanse.runtime.gate.build import BadPlan
from hanse.runtime.gate.checks import Refused
from hanse.runtime.gate.content import Content, RecordKind, RecordView
from hanse.runtime.gate.encrypted_build import encrypted_filter
from hanse.runtime.gate.filter import Asked, Forward, Ready
from hanse.runtime.he import fingerprint
from hanse.runtime.ledger.file import CERTIFICATES
from tests.unit.runtime.gate.encrypted_fleet import NAMES, RECORD, SILO, Fleet
from tests.unit.runtime.gate.encrypted_gate import Gate, refused
from tests.unit.runtime.gate.honest_server import Server
from tests.unit.runtime.gate.private_pod import metrics, record
from tests.unit.runtime.gate.sample_job import UID

pytestmark = pytest.mark.protocol

Make = Callable[..., Fleet]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Fleet] = []

    def one(**changes: Any) -> Fleet:
        made.append(Fleet(tmp_path / str(len(made)), **{"scheme": "CKKS", **changes}))
        return made[-1]

    yield one
    for fleet in made:
        fleet.close()


def ready(fleet: Fleet) -> Server:
    server = Server(fleet)
    server.keys()
    return server


def secret(gate: Gate) -> Path:
    return gate.paths.state / "encrypted" / "job-key"


# -- the key


def test_the_key_lies_in_the_gates_own_directory_alone_and_is_the_stated_one(make: Make) -> None:
    fleet = make()
    server = ready(fleet)
    keys = {name: secret(gate).read_bytes() for name, gate in fleet.gate.items()}
    assert len(set(keys.values())) == 1
    key = keys["bank-a"]
    assert server.statement is not None
    assert fingerprint(key) == server.statement.fingerprint
    for gate in fleet.gate.values():
        assert stat.S_IMODE(secret(gate).stat().st_mode) == 0o600
        holding = [path for path in gate.paths.root.rglob("*") if path.is_file() and key[:32] in path.read_bytes()]
        assert holding == [secret(gate)]


def test_a_prekey_lives_as_long_as_the_process(make: Make) -> None:
    server = Server(make())
    before = server.hello("bank-b").prekey
    assert server.hello("bank-b").prekey == before
    envelope = server.wrap("bank-a", ["bank-b"])
    server.fleet.gate["bank-b"].kill()
    assert server.hello("bank-b").prekey != before
    joining = m.JoinRequest(statement=envelope.statement, envelope=envelope.envelopes[0], prekeys=server.prekeys)
    with refused(ReplyCode.KEY_REFUSED):
        server.ask("bank-b", m.JOIN, joining)


def test_only_the_maker_makes_a_key_and_only_one(make: Make) -> None:
    fleet = make()
    server = Server(fleet)
    with refused(ReplyCode.KEY_NOT_HELD):
        server.wrap("bank-b", NAMES)
    first = server.wrap("bank-a", NAMES).statement
    fleet.gate["bank-a"].kill()
    assert server.wrap("bank-a", NAMES).statement == first
    secret(fleet.gate["bank-a"]).unlink()
    fleet.gate["bank-a"].kill()
    with refused(ReplyCode.KEY_NOT_HELD):
        server.wrap("bank-a", NAMES)


def test_a_damaged_key_is_none_and_comes_back_from_any_holder(make: Make) -> None:
    fleet = make()
    server = ready(fleet)
    server.round(1)
    gate = fleet.gate["bank-a"]
    secret(gate).write_bytes(b"\0" + secret(gate).read_bytes()[1:])
    gate.kill()
    assert server.hello("bank-a").fingerprint == ""
    server.join("bank-c", ["bank-a"])
    server.confirm(["bank-a"])
    assert server.hello("bank-a").fingerprint == server.hello("bank-b").fingerprint
    assert len(server.round(2).applied) == 3


def test_nothing_is_encrypted_before_a_quorum_is_known_to_hold_the_key(make: Make) -> None:
    fleet = make(quorum=3)
    server = Server(fleet)
    server.join("bank-a", NAMES)
    with refused(ReplyCode.KEY_NOT_HELD):
        server.train("bank-a", 1)
    some = list(server.confirmations.values())[:1]
    with refused(ReplyCode.TOO_FEW_CONTRIBUTIONS):
        server.ask("bank-a", m.CONFIRMED, m.ConfirmedRequest(confirmations=some, prekeys=server.prekeys))
    server.confirm(NAMES)
    server.train("bank-a", 1)
    fleet.gate["bank-a"].kill()
    server.train("bank-a", 1)  # it remembers
    assert fleet.gate["bank-a"].trained == [1]


# -- the model


def test_the_model_leaves_with_everybodys_word_and_is_the_committed_one(make: Make) -> None:
    server = ready(make())
    server.round(1)
    asked = server.release()
    reply = server.model("bank-b", asked)
    assert arrays_digest(reply.arrays()) == reply.message(m.ModelReply).model == asked.releases[0].model
    assert arrays_digest(server.model("bank-b", asked).arrays()) == asked.releases[0].model, "a lost reply comes again"
    with refused(ReplyCode.RELEASE_REFUSED):
        server.model("bank-b", asked.model_copy(update={"releases": asked.releases[:2]}))


def test_whose_update_is_not_in_the_model_need_not_sign(make: Make) -> None:
    server = ready(make())
    server.round(1, absent=["bank-c"])
    asked = server.release(["bank-a", "bank-b"])
    assert server.model("bank-a", asked).arrays()


def test_a_second_model_is_not_let_go_and_nothing_is_trained_after_the_first(make: Make) -> None:
    fleet = make()
    server = ready(fleet)
    server.round(1)
    server.release(["bank-a"])
    fleet.gate["bank-a"].kill()
    with refused(ReplyCode.RELEASE_REFUSED):
        server.train("bank-a", 2)
    others = ["bank-b", "bank-c"]
    server.round(2, others)
    server.restore("bank-a")
    with refused(ReplyCode.RELEASE_REFUSED):
        server.release(["bank-a"])
    asked = server.release(others)
    with refused(ReplyCode.RELEASE_REFUSED):
        server.model("bank-b", asked)


def test_a_plan_that_says_never_lets_nothing_go(make: Make) -> None:
    server = ready(make(model_release="Never"))
    server.round(1)
    with refused(ReplyCode.RELEASE_REFUSED):
        server.release()
    words = [
        server.fleet.signer(n).release(1, server.commit.applied[0].model, "Never")  # type: ignore[union-attr]
        for n in NAMES
    ]
    with refused(ReplyCode.RELEASE_REFUSED):
        server.model("bank-a", m.ModelRequest(round=1, releases=words))


def test_participants_get_a_file_each_and_the_server_gets_nothing(make: Make) -> None:
    fleet = make(model_release="Participants")
    server = ready(fleet)
    server.round(1)
    asked = server.release()
    for name, gate in fleet.gate.items():
        reply = server.model(name, asked)
        assert set(reply.records) == {m.RECORD}
        path = gate.paths.models / f"consortium-credit-{UID[:8]}.safetensors"
        arrays, about = read_model(path)
        assert arrays_digest(arrays) == asked.releases[0].model
        assert about["job"] == "consortium/credit"
        assert json.loads(about["hanse"]) == {}
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert path.with_name(path.name + ".sha256").read_text() == f"{digest}  {path.name}\n"
        server.model(name, asked)


def test_a_volume_that_is_full_is_the_gates_failure_and_may_be_tried_again(make: Make) -> None:
    fleet = make(model_release="Participants")
    server = ready(fleet)
    server.round(1)
    asked = server.release()
    models = fleet.gate["bank-a"].paths.models
    models.parent.mkdir(parents=True, exist_ok=True)
    models.write_text("no directory")
    with refused(ReplyCode.GATE_FAILED):
        server.model("bank-a", asked)
    models.unlink()
    server.model("bank-a", asked)


# -- what a gate is told to do


def test_a_gate_that_is_told_something_else_than_the_others_does_not_start(make: Make) -> None:
    gate = make().gate["bank-a"]
    assert gate.config.encryption is not None
    other = gate.config.model_copy(update={"config": {"learning-rate": "7"}})
    with pytest.raises(BadPlan, match="terms"):
        encrypted_filter(other, gate.config.encryption, gate.paths)


def test_a_gate_whose_owner_has_another_identity_by_now_does_not_start(tmp_path: Path) -> None:
    """Its statements would be refused by all others, one by one, without a word to its owner."""
    gate = Fleet(tmp_path).gate["bank-a"]
    gate.paths.identity_key.write_text(new_identity().private)

    with pytest.raises(BadPlan, match="not signed by bank-a"):
        assert gate.running


def test_too_many_participants_for_the_engine_are_refused(make: Make) -> None:
    fleet = make()
    plan = fleet.plan.model_copy(
        update={"roster": [fleet.plan.roster[0].model_copy(update={"name": f"b{i}"}) for i in range(65)]}
    )
    config = fleet.gate["bank-a"].config.model_copy(update={"participant": "b0"})
    with pytest.raises(BadPlan, match="64"):
        encrypted_filter(config, plan, fleet.gate["bank-a"].paths)


@pytest.mark.parametrize("changes", [{"quorum": 3}, {"quorum": 3, "collusion_threshold": 1}])
def test_shares_that_are_made_for_another_quorum_are_refused(make: Make, changes: dict[str, int]) -> None:
    """A share for more others than every sum has is too little noise, whoever wrote the plan and its terms."""
    gate = make(privacy=SHARED).gate["bank-a"]
    assert gate.config.encryption is not None
    config = gate.config.model_copy(update={"privacy": SHARED.model_copy(update=changes)})
    encryption = gate.config.encryption.model_copy(update={"terms": config.common_terms()})
    with pytest.raises(BadPlan, match="quorum"):
        encrypted_filter(config, encryption, gate.paths)


# -- beside training

COUNTED = RECORD.model_copy(
    update={
        "statistics": StatisticsPlan(noise_multiplier="5", bins=4),
        "evaluation": EvaluationPlan(noise_multiplier="5", bins=8, every_rounds=1),
    }
)


def answered(gate: Gate, asked: Asked, reply: Content) -> Content:
    """Through both halves; the app is asked."""
    assert isinstance(gate.running.before(asked), Forward)
    return gate.running.after(asked.bare(), reply)


def evaluate(server: Server, number: int) -> Asked:
    text = m.EvaluateRequest(commit=server.commit).to_text()
    config = RecordView(RecordKind.CONFIG, values={"server-round": number})
    return Asked(m.EVALUATE, {m.RECORD: RecordView(RecordKind.CONFIG, values={m.TEXT: text}), "config": config})


def scores() -> dict[str, RecordView]:
    return {"histograms": record({"scores": np.full((2, 8), 5, np.int64), "loss": np.full((1, 8), 5, np.int64)})}


def test_counts_of_a_private_job_leave_noised_and_paid_for(make: Make) -> None:
    fleet = make(privacy=COUNTED)
    gate = fleet.gate["bank-a"]
    asked = Asked("query.statistics", {})
    left = answered(gate, asked, {"histograms": record({"features": np.full((2, 4), 25, np.int64)})})
    again = gate.running.before(asked)
    assert isinstance(again, Ready)
    assert again.content == left
    server = ready(fleet)
    server.round(1)
    assert answered(gate, evaluate(server, 1), scores()).keys() == {"histograms", "metrics"}
    assert sorted(fleet.paid("bank-a")) == ["Evaluate-1-1", "Statistics-0-1", "Train-1-1"]
    with pytest.raises(Refused):
        gate.running.after(asked, {"metrics": metrics(auc=0.5)})


def test_metrics_of_a_private_evaluation_do_not_leave(make: Make) -> None:
    fleet = make(privacy=COUNTED)
    server = ready(fleet)
    server.round(1)
    gate = fleet.gate["bank-a"]
    gate.running.before(evaluate(server, 1))
    with pytest.raises(Refused):
        gate.running.after(evaluate(server, 1), scores() | {"metrics": metrics(auc=0.5)})
    assert fleet.paid("bank-a") == ["Train-1-1"]


def certificates(gate: Gate) -> list[Path]:
    return sorted((gate.paths.ledger / CERTIFICATES).glob("*.json"))


SHARED = SILO.model_copy(update={"mechanism": "Distributed", "quorum": 2, "collusion_threshold": 0})


@pytest.mark.parametrize("plan", [SILO, SHARED, COUNTED], ids=["silo", "distributed", "record"])
def test_the_certificate_of_an_encrypted_job_bears_out(make: Make, plan: Any) -> None:
    fleet = make(privacy=plan, scheme="BFV")
    server = ready(fleet)
    for number in (1, 2):
        server.round(number)
    gate = fleet.gate["bank-b"]
    gate.running.close()
    found = certificates(gate)
    signed = SignedCertificate.model_validate_json(found[0].read_bytes())
    made = signed.certificate
    assert made.final
    assert [each.slot for each in made.releases] == ["Train-1-1", "Train-2-1"]
    assert {each.values for each in made.releases} == {43}
    assert list(certified.objections(made)) == []
    assert verifies(fleet.identities["bank-b"].public, signed.signature, made.digest.encode())
    with refused(ReplyCode.BUDGET_NOT_RESERVED):
        server.train("bank-b", 3)


@pytest.mark.parametrize("plan", [None, SILO])
def test_how_long_the_app_took_is_told_where_there_is_no_privacy_alone(make: Make, plan: Any) -> None:
    assert make(privacy=plan).gate["bank-a"].running.timed == (plan is None)
