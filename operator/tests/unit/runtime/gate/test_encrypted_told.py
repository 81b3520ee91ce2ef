"""What a server tells the apps beside the model: all in one sum the same, or there is no sum.

With statistics that blot out the others' features a "sum" is one participant's update (model inconsistency).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from hanse.api.privacy import EvaluationPlan
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import messages as m
from hanse.runtime.agreement.statements import Contribution
from hanse.runtime.gate.answers import Answer, Decider
from tests.unit.runtime.gate.encrypted_fleet import NAMES, SILO, Fleet
from tests.unit.runtime.gate.encrypted_gate import refused, request
from tests.unit.runtime.gate.honest_server import Server

pytestmark = pytest.mark.protocol

A, B, C = NAMES
PLAIN = {"mean": [0.0], "scale": [1.0]}
BLOTTED = {"mean": [0.0], "scale": [1e30]}


def told(server: Server, statistics: dict[str, Any]) -> RecordDict:
    """The training of round 1 with these statistics."""
    content = request(m.TrainRequest(commit=server.commit, attempt=1), number=1)
    content["statistics"] = ConfigRecord(statistics)
    return content


def train(server: Server, name: str, statistics: dict[str, Any]) -> Contribution:
    reply = server.fleet.gate[name].ask(m.TRAIN, told(server, statistics))
    server.ciphertexts[name] = reply.raw(m.UPDATE, m.CIPHERTEXT)
    return reply.message(m.TrainReply).contribution


@pytest.fixture(params=[None, SILO], ids=["open", "silo"])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Server:
    server = Server(Fleet(tmp_path, privacy=request.param, scheme="CKKS"))
    server.keys()
    return server


def test_who_was_told_something_else_is_in_no_sum(server: Server) -> None:
    listed = [train(server, A, PLAIN), train(server, B, BLOTTED), train(server, C, BLOTTED)]

    for name in NAMES:
        with refused(ReplyCode.SUM_REFUSED):
            server.verify(name, 1, listed, "Bodies")


def test_told_the_same_they_are(server: Server) -> None:
    listed = [train(server, name, PLAIN) for name in NAMES]

    message = server.agree(1, listed, NAMES, NAMES)
    assert server.finish(1, message, server.add(listed), NAMES).round == 1


def test_the_signed_word_is_of_what_the_app_heard(server: Server) -> None:
    """An update is not signed for another question than it answers: the app is asked again, or nothing leaves."""
    first, gate = train(server, A, PLAIN), server.fleet.gate[A]
    assert train(server, A, PLAIN) == first
    assert gate.trained == [1]
    if gate.config.privacy is not None:  # with a budget another question is another release
        with refused(ReplyCode.ALREADY_RELEASED):
            train(server, A, BLOTTED)
        return
    with refused(ReplyCode.SUM_REFUSED):
        train(server, A, BLOTTED)
    gate.replace()  # what another pod is told first
    server.join(B, [A])
    server.confirm([A])
    second = train(server, A, BLOTTED)
    assert gate.trained == [1, 1]
    assert (second.asked, second.digest) != (first.asked, first.digest)


def evaluate(server: Server, statistics: dict[str, Any], **more: Any) -> None:
    """An evaluation by bank-a of the model that is committed."""
    content = request(m.EvaluateRequest(commit=server.commit))
    content["config"] = ConfigRecord({"server-round": 1, **more})
    content["statistics"] = ConfigRecord(statistics)
    server.fleet.gate[A].ask(m.EVALUATE, content)


def test_a_paid_evaluation_is_by_the_statistics_of_the_training(tmp_path: Path) -> None:
    every_round = EvaluationPlan(noise_multiplier="5", bins=8, every_rounds=1)
    server = Server(Fleet(tmp_path, privacy=SILO.model_copy(update={"evaluation": every_round})))
    server.keys()
    listed = [train(server, name, PLAIN) for name in NAMES]
    server.commit = server.finish(1, server.agree(1, listed, NAMES, NAMES), server.add(listed), NAMES)
    with refused(ReplyCode.SUM_REFUSED):
        evaluate(server, BLOTTED)


@pytest.mark.parametrize("killed", [False, True])
def test_the_server_does_not_choose_where_a_model_is_evaluated(tmp_path: Path, killed: bool) -> None:
    """With the scale 1e30 all records are one point: by such questions the server would read the model."""
    server = Server(Fleet(tmp_path, scheme="CKKS"))
    server.keys()
    listed = [train(server, name, PLAIN) for name in NAMES]
    server.commit = server.finish(1, server.agree(1, listed, NAMES, NAMES), server.add(listed), NAMES)
    evaluate(server, PLAIN)
    if killed:
        server.fleet.gate[A].kill()

    with refused(ReplyCode.SUM_REFUSED):
        evaluate(server, BLOTTED)
    with refused(ReplyCode.ALREADY_RELEASED):
        evaluate(server, PLAIN, point=2.5)
    evaluate(server, PLAIN)  # a server that was killed asks again


@pytest.mark.parametrize("kind", [m.TRAIN, m.EVALUATE, "query.statistics"])
def test_the_app_hears_no_array_of_the_servers(server: Server, kind: str) -> None:
    gate = server.fleet.gate[A]
    if gate.config.privacy is not None and kind != m.TRAIN:
        return
    text = m.TrainRequest(attempt=1) if kind == m.TRAIN else m.EvaluateRequest()
    content = request(text, number=1)
    content["mask"] = ArrayRecord({"x": Array(np.zeros(3))})

    asked = Decider(gate.running).before(kind, content)
    assert not isinstance(asked, Answer)
    assert set(content) == {"config", *([] if kind == "query.statistics" else ["arrays"])}
