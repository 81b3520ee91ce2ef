"""A server that has a gate's pod replaced in the middle of a round, so that it votes a second time; with controls.

The gate is sent nothing that it has written: it learns from a quorum of the others how far they are.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from hanse.api.privacy import PrivacyPlan
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import messages as m
from hanse.runtime.agreement.ballot import Ballot
from hanse.runtime.agreement.statements import Applied
from tests.unit.runtime.gate.encrypted_fleet import NAMES, SILO, Fleet
from tests.unit.runtime.gate.encrypted_gate import refused
from tests.unit.runtime.gate.honest_server import Server

pytestmark = pytest.mark.protocol

A, B, C = NAMES
Attack = Callable[[Server], tuple[Applied, Applied]]


def new_pod(server: Server, holder: str) -> None:
    """bank-a's gate has forgotten what it voted for; `holder` gives it the key."""
    server.fleet.gate[A].replace()
    server.join(holder, [A])
    server.confirm([A])


def without_its_update(server: Server) -> tuple[Applied, Applied]:
    """The two sums differ by bank-a's update."""
    listed = [server.train(name, 1) for name in NAMES]
    first, _ = server.apply(B, server.agree(1, listed, [A, B], [A, B]), server.add(listed))
    new_pod(server, C)
    second, _ = server.apply(C, server.agree(1, listed[1:], [A, C], [A, C]), server.add(listed[1:]))
    return first, second


def who_only_voted(server: Server) -> tuple[Applied, Applied]:
    """bank-a has sent nothing in the round, so its ledger knows nothing of it."""
    listed = [server.train(name, 1) for name in (B, C)]
    first, _ = server.apply(B, server.agree(1, listed, [A, B], [A, B]), server.add(listed))
    new_pod(server, C)
    listed = [server.train(A, 1), *listed]
    second, _ = server.apply(C, server.agree(1, listed, [A, C], [A, C]), server.add(listed))
    return first, second


ATTACKS = [(without_its_update, None), (who_only_voted, None), (who_only_voted, SILO)]


@pytest.fixture(params=ATTACKS, ids=["without its update", "who only voted", "who only voted, with noise"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Attack, Server]:
    attack: Attack
    privacy: PrivacyPlan | None
    attack, privacy = request.param
    server = Server(Fleet(tmp_path, privacy=privacy))
    server.keys()
    return attack, server


def test_no_second_sum_of_a_round_with_the_vote_of_a_gate_that_forgot(case: tuple[Attack, Server]) -> None:
    attack, server = case
    with refused(ReplyCode.SECOND_SUM):
        attack(server)


def test_control_with_that_vote_there_are_two(case: tuple[Attack, Server], monkeypatch: pytest.MonkeyPatch) -> None:
    attack, server = case
    monkeypatch.setattr(Ballot, "_check_begun", lambda ballot, round: None)
    first, second = attack(server)
    assert first.round == second.round
    assert first.sum_digest != second.sum_digest


def test_what_the_others_said_before_its_time_does_not_let_it_begin(tmp_path: Path) -> None:
    server = Server(Fleet(tmp_path))
    server.keys()
    kept = m.ConfirmedRequest(confirmations=list(server.confirmations.values()), prekeys=server.prekeys)
    server.round(1)
    server.fleet.gate[A].replace()
    server.join(C, [A])
    with refused(ReplyCode.KEY_REFUSED):
        server.ask(A, m.CONFIRMED, kept)
    with refused(ReplyCode.TOO_FEW_CONTRIBUTIONS):
        server.ask(A, m.CONFIRMED, kept.model_copy(update={"prekeys": server.prekeys}))
    server.restore(A)
    with refused(ReplyCode.KEY_NOT_HELD):
        server.train(A, 2)
    server.confirm([A])
    server.train(A, 2)


def test_it_applies_what_the_others_have_voted_for_and_votes_in_the_next_round(tmp_path: Path) -> None:
    server = Server(Fleet(tmp_path))
    server.keys()
    server.round(1)
    listed = [server.train(name, 2) for name in NAMES]
    new_pod(server, B)
    server.restore(A)
    message = server.agree(2, listed, [B, C], [B, C])
    server.finish(2, message, server.add(listed), NAMES)
    assert len(server.round(3).applied) == len(NAMES)


def test_who_came_in_anothers_place_tells_the_next_one_what_it_was_told(tmp_path: Path) -> None:
    """One after the other is replaced: what the first one was told is not lost with the second."""
    server = Server(Fleet(tmp_path, quorum=3))
    server.keys()
    server.round(1)
    listed = [server.train(name, 2) for name in NAMES]
    new_pod(server, B)
    server.fleet.gate[B].replace()
    server.fleet.gate[C].replace()
    # bank-a's new gate alone is left, and has had no part in the round itself.
    server.join(A, [B, C])
    server.confirm([B, C])
    server.restore(B)
    with refused(ReplyCode.SECOND_SUM):
        server.verify(B, 2, listed)


def test_a_gate_that_is_killed_between_the_key_and_the_words_asks_for_them_again(tmp_path: Path) -> None:
    server = Server(Fleet(tmp_path))
    server.keys()
    server.round(1)
    server.fleet.gate[A].replace()
    server.join(B, [A])
    server.fleet.gate[A].kill()
    assert server.hello(A).fingerprint
    assert not server.hello(A).confirmed
    with refused(ReplyCode.KEY_REFUSED):
        server.confirm([A])
    server.prekeys = [server.hello(A).prekey]
    server.tell(NAMES)
    server.confirm([A])
    assert server.hello(A).confirmed
