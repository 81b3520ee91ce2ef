"""A server that withholds a commit from some gates, so that two models are the job's."""

from pathlib import Path

import pytest

from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import messages as m
from hanse.runtime.gate.encrypted_model import HeldModel
from tests.unit.runtime.gate.encrypted_fleet import NAMES, Fleet
from tests.unit.runtime.gate.encrypted_gate import refused
from tests.unit.runtime.gate.honest_server import Server

pytestmark = pytest.mark.protocol

A = NAMES[0]


@pytest.fixture
def forked(tmp_path: Path) -> Server:
    """Round 1 was applied and its commit withheld; round 2 starts without it. bank-a alone is told of round 1."""
    server = Server(Fleet(tmp_path))
    server.keys()
    listed = [server.train(name, 1) for name in NAMES]
    first = server.finish(1, server.agree(1, listed, NAMES, NAMES), server.add(listed), NAMES)
    withheld = server.sealed
    server.commit = None
    second = server.round(2)
    assert {one.base for one in second.applied} == {0}
    server.sealed, newest = withheld, server.sealed
    server.restore(A)
    assert server.hello(A).round == first.round
    server.sealed = newest
    return server


def test_a_round_that_is_committed_here_is_not_undone(forked: Server) -> None:
    with refused(ReplyCode.STALE_ROUND):
        forked.restore(A)
    with refused(ReplyCode.STALE_ROUND):
        forked.ask(A, m.TRAIN, m.TrainRequest(commit=forked.commit, attempt=1), number=3)
    assert forked.hello(A).round == 1


def test_control_without_that_check_it_is_undone(forked: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeldModel, "_check_follows", lambda held, outcome: None)
    forked.restore(A)
    assert forked.hello(A).round == 2
