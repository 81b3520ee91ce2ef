"""What a private job's gate pays for: every release once, before it leaves."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from hanse.api.replies import ReplyCode
from hanse.runtime.gate.answers import Decider
from hanse.runtime.gate.filter import Asked, Ready
from hanse.runtime.ledger import LedgerUnavailable
from tests.unit.runtime.gate.private_pod import SILO, Pod, answer, code, grid, moved, reply, train


def test_the_same_question_gets_the_same_bytes_and_costs_nothing(pod: Pod) -> None:
    gate = pod.gate()
    first = answer(gate, train(), reply())
    for again in (gate, pod.gate()):  # a restarted gate too
        decision = again.before(train())
        assert isinstance(decision, Ready)
        assert grid(decision.content) == grid(first)
    assert pod.paid() == ["Train-1-1"]


def test_a_new_pod_cannot_answer_a_paid_round_again(pod: Pod) -> None:
    answer(pod.gate(), train(), reply())
    shutil.rmtree(pod.paths.state)
    assert code(lambda: pod.gate().before(train())) == ReplyCode.ALREADY_RELEASED
    assert pod.paid() == ["Train-1-1"]


def test_a_new_attempt_is_charged_and_has_noise_of_its_own(tmp_path: Path) -> None:
    pod = Pod(tmp_path, SILO.model_copy(update={"max_attempts": 2}))
    first = answer(pod.gate(), train(), reply())
    shutil.rmtree(pod.paths.state)
    second = answer(pod.gate(), train(), reply())
    assert pod.paid() == ["Train-1-1", "Train-1-2"]
    assert grid(first) != grid(second)
    shutil.rmtree(pod.paths.state)
    assert code(lambda: pod.gate().before(train())) == ReplyCode.ALREADY_RELEASED


def test_without_the_ledger_nothing_leaves_and_later_the_same_bytes_do(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = pod.gate()
    kept: list[bytes] = []

    def lost(self: Any, slot: Any, digest: str) -> None:
        kept.append(digest.encode())
        raise LedgerUnavailable("no answer")

    with monkeypatch.context() as broken:
        broken.setattr("hanse.runtime.ledger.file.FileLease.charge", lost)
        assert isinstance(gate.before(train()), object)
        assert code(lambda: gate.after(train().bare(), reply())) == ReplyCode.LEDGER_UNAVAILABLE
    assert pod.paid() == []
    decision = gate.before(train())
    assert isinstance(decision, Ready), "the app is not asked again"
    assert pod.paid() == ["Train-1-1"]


def test_a_gate_that_was_replaced_pays_and_sends_nothing(pod: Pod) -> None:
    old = pod.gate()
    asked = train()
    old.before(asked)
    answer(pod.gate(), train(), reply())
    assert code(lambda: old.after(asked.bare(), reply())) in (ReplyCode.LEASE_LOST, ReplyCode.ALREADY_RELEASED)
    assert pod.paid() == ["Train-1-1"]


def test_nothing_leaves_without_a_reservation_or_after_the_close(pod: Pod) -> None:
    gate = pod.gate()
    answer(gate, train(), reply())
    gate.close()
    gate.close()
    assert code(lambda: gate.before(train(2, moved()))) == ReplyCode.BUDGET_NOT_RESERVED


def test_another_plan_than_the_reserved_one_pays_for_nothing(pod: Pod) -> None:
    pod.plan = SILO.model_copy(update={"clip": "2"})
    assert code(lambda: pod.gate().before(train())) == ReplyCode.BUDGET_NOT_RESERVED


def test_whatever_fails_in_the_gate_lets_nothing_out(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    from hanse.runtime.flower import wire

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    decider = Decider(pod.gate())
    asked = decider.before("train", wire.build(train().content))
    assert isinstance(asked, Asked)
    monkeypatch.setattr("hanse.runtime.gate.outbox.replace_file", full)
    decided = decider.after(asked, wire.build(reply()))
    assert decided.content is None
    assert decided.code == ReplyCode.GATE_FAILED
    assert pod.paid() == []


def test_a_server_that_resumes_gets_earlier_rounds_again(tmp_path: Path) -> None:
    pod = Pod(tmp_path, SILO.model_copy(update={"noise_multipliers": ["5"] * 6}))
    gate = pod.gate()
    asked = [train(1)] + [train(n, moved(0.01 * n)) for n in range(2, 7)]
    left = [answer(gate, each, reply()) for each in asked]
    for each, before in zip(asked, left, strict=True):
        decision = pod.gate().before(each)
        assert isinstance(decision, Ready)
        assert grid(decision.content) == grid(before)
    assert len(pod.paid()) == 6
