"""kill -9 of a gate at everything that it writes down, and gates whose directory is gone."""

import contextlib
import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flwr.app import RecordDict

from hanse.api.privacy import PrivacyPlan
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import messages as m
from hanse.runtime.ledger.book import Book
from tests.unit.runtime.gate.encrypted_fleet import NAMES, SILO, Fleet
from tests.unit.runtime.gate.encrypted_gate import Gate, GateRefused, Reply, refused
from tests.unit.runtime.gate.honest_server import Server

pytestmark = pytest.mark.protocol

VICTIM = "bank-a"  # makes the key, and computes the sum of round 1


class Killed(BaseException):
    """kill -9: no handler of the gate's sees it."""


class Crash:
    """Kills the victim before or after its write number `at`; writes of others pass."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.at, self.after = -1, False
        self.written: list[str] = []
        self._armed = False
        for owner, name in ((Path, "replace"), (Book, "write")):
            patch.setattr(owner, name, self._wrapped(getattr(owner, name)))
        ask = Gate.ask

        def asking(gate: Gate, kind: str, content: RecordDict) -> Reply:
            if gate.name != VICTIM:
                return ask(gate, kind, content)
            again = copy.deepcopy(content)
            self._armed = True
            try:
                return ask(gate, kind, content)
            except Killed:
                gate.kill()
                return ask(gate, kind, again)
            finally:
                self._armed = False

        patch.setattr(Gate, "ask", asking)

    def arm(self, at: int, after: bool) -> None:
        """For the next job."""
        self.at, self.after, self.written = at, after, []

    def _wrapped(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(target: Any, *args: Any, **more: Any) -> Any:
            if not self._armed:
                return write(target, *args, **more)
            due = len(self.written) == self.at
            self.written.append(Path(str(args[0])).name if isinstance(target, Path) else str(args[0]))
            if due and not self.after:
                self._armed = False
                raise Killed
            result = write(target, *args, **more)
            if due:
                self._armed = False
                raise Killed
            return result

        return wrapped


class Watching(Server):
    """Keeps every statement of the victim, also of questions that are asked again; brings keys until all have them."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        self.said: dict[tuple[str, int], set[str]] = defaultdict(set)

    def ask(self, name: str, kind: str, message: m.Message, **more: Any) -> Reply:
        reply = super().ask(name, kind, message, **more)
        if name == VICTIM and kind in (m.TRAIN, m.VERIFY, m.APPLY):
            self._note(reply, kind)
            self._note(super().ask(name, kind, message, **more), kind)  # the reply was lost
        return reply

    def _note(self, reply: Reply, kind: str) -> None:
        if kind == m.TRAIN:
            one = reply.message(m.TrainReply).contribution
            self.said["contribution", one.round].add(one.model_dump_json())
        elif kind == m.VERIFY:
            vote = reply.message(m.VerifyReply).vote
            self.said["vote", vote.round].add(vote.model_dump_json())
        else:
            applied = reply.message(m.ApplyReply).applied
            self.said["applied", applied.round].add(applied.model_dump_json())

    def keys(self) -> None:
        for _ in range(2):
            # The prekey dies with the process.
            with contextlib.suppress(GateRefused):
                return super().keys()
        return super().keys()


def job(root: Path, privacy: PrivacyPlan | None) -> Watching:
    """Key, round, commit and release: everything that a gate ever writes."""
    fleet = Fleet(root, privacy=privacy, scheme="CKKS")
    server = Watching(fleet)
    server.keys()
    commit = server.round(1)
    assert len(commit.applied) == len(NAMES)
    server.model("bank-a", server.release())
    fleet.close()
    return server


@pytest.mark.parametrize(
    ("privacy", "after"), [(SILO, False), (SILO, True), (None, True)], ids=["silo-before", "silo-after", "open-after"]
)
def test_a_gate_that_is_killed_at_any_write_does_nothing_twice_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, privacy: PrivacyPlan | None, after: bool
) -> None:
    crash = Crash(monkeypatch)
    crash.arm(-1, after)
    job(tmp_path / "whole", privacy)
    writes = list(crash.written)
    expected = {"ballot.json", "job-key", "job-key.json", "shared-model", "shared-model.next", "released.json"}
    assert expected <= set(writes)
    for at in range(len(writes)):
        crash.arm(at, after)
        server = job(tmp_path / str(at), privacy)
        where = f"killed at {at}: {writes[at]}"
        assert len(crash.written) > at, where
        assert all(len(words) == 1 for words in server.said.values()), where
        assert sorted(server.said) == [("applied", 1), ("contribution", 1), ("vote", 1)], where
        assert server.fleet.paid(VICTIM) == ([] if privacy is None else ["Train-1-1"]), where


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    made.close()


def test_a_vote_holds_after_a_kill(fleet: Fleet) -> None:
    server = Server(fleet)
    server.keys()
    listed = [server.train(name, 1) for name in NAMES]
    server.verify(VICTIM, 1, listed)
    fleet.gate[VICTIM].kill()
    with refused(ReplyCode.SECOND_SUM):
        server.verify(VICTIM, 1, listed[:2])
    server.verify(VICTIM, 1, listed, "Seeds")


def test_a_second_sum_is_refused_after_a_kill(fleet: Fleet) -> None:
    server = Server(fleet)
    server.keys()
    listed = [server.train(name, 1) for name in NAMES]
    others = [name for name in NAMES if name != VICTIM]
    first = server.agree(1, listed, others, others)
    server.apply(VICTIM, first, server.add(listed))
    fleet.gate[VICTIM].kill()
    with refused(ReplyCode.SECOND_SUM):
        server.verify(VICTIM, 1, listed[:2])
    again, _ = server.apply(VICTIM, first, server.add(listed))
    assert again.round == 1


def test_a_committed_round_is_never_gone_back_on(fleet: Fleet) -> None:
    server = Server(fleet)
    server.keys()
    server.round(1)
    old = server.commit
    server.round(2)
    server.evaluate(VICTIM, 2)
    fleet.gate[VICTIM].kill()
    assert server.hello(VICTIM).round == 2
    with refused(ReplyCode.STALE_ROUND):
        server.train(VICTIM, 2)
    assert old is not None
    with refused(ReplyCode.STALE_ROUND):
        server.ask(VICTIM, m.EVALUATE, m.EvaluateRequest(commit=old), number=2)


@pytest.mark.parametrize("name", ["shared-model", "shared-model.next"])
def test_a_model_that_is_damaged_on_disk_is_asked_for_and_not_gone_on_without(fleet: Fleet, name: str) -> None:
    server = Server(fleet)
    server.keys()
    server.round(1)
    if name == "shared-model":
        server.evaluate(VICTIM, 1)
    gate = fleet.gate[VICTIM]
    path = gate.paths.state / "encrypted" / name
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    gate.kill()
    with refused(ReplyCode.STATE_MISSING):
        server.evaluate(VICTIM, 1)
    server.restore(VICTIM)
    commit = server.round(2)
    assert len(commit.applied) == 3


@pytest.mark.parametrize("privacy", [None, SILO], ids=["open", "silo"])
@pytest.mark.parametrize("at", ["keys", "round", "commit"])
def test_a_gate_whose_directory_is_gone_is_brought_back(tmp_path: Path, at: str, privacy: PrivacyPlan | None) -> None:
    fleet = Fleet(tmp_path, privacy=privacy, rounds=5)
    server = Server(fleet)
    server.keys()
    if at != "keys":
        server.round(1)
    if at == "commit":
        server.restore(VICTIM)  # which commits as well
    fleet.gate[VICTIM].replace()
    greeting = server.hello(VICTIM)
    assert (greeting.fingerprint, greeting.round) == ("", 0)
    with refused(ReplyCode.KEY_NOT_HELD, ReplyCode.STATE_MISSING):
        server.ask(VICTIM, m.TRAIN, m.TrainRequest(commit=server.commit, attempt=1), number=2)
    server.join("bank-b", [VICTIM])
    server.confirm([VICTIM])
    commit = server.round(2)
    assert len(commit.applied) == 3
    assert {word.base for word in commit.applied} == {0 if at == "keys" else 1}
    fleet.close()


def test_a_gate_that_is_replaced_in_the_middle_of_a_round_pays_no_second_time_and_does_not_vote(
    tmp_path: Path,
) -> None:
    """The ledger remembers that a gate before this one was in the round; what that one voted for nobody knows."""
    fleet = Fleet(tmp_path, privacy=SILO)
    server = Server(fleet)
    server.keys()
    listed = [server.train(name, 1) for name in NAMES]
    server.verify(VICTIM, 1, listed)
    fleet.gate[VICTIM].replace()
    server.join("bank-b", [VICTIM])
    server.confirm([VICTIM])
    with refused(ReplyCode.ALREADY_RELEASED):
        server.train(VICTIM, 1)
    with refused(ReplyCode.SECOND_SUM):
        server.verify(VICTIM, 1, listed[1:])
    assert fleet.paid(VICTIM) == ["Train-1-1"]
    others = NAMES[1:]
    server.finish(1, server.agree(1, listed, others, others), server.add(listed), others)
    assert len(server.round(2).applied) == 3
    fleet.close()


def test_a_record_of_votes_that_is_damaged_stops_the_gate(fleet: Fleet) -> None:
    server = Server(fleet)
    server.keys()
    fleet.gate[VICTIM].kill()
    (fleet.gate[VICTIM].paths.state / "encrypted" / "ballot.json").write_bytes(b"{")
    with pytest.raises(ValueError, match="damaged"):
        server.hello(VICTIM)
