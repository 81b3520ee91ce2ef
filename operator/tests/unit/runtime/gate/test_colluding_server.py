"""A server in league with the job's author: nothing that it sends or repeats gets it more than is paid for."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanse.api.replies import ReplyCode
from hanse.runtime.gate.filter import Asked, Forward, Ready
from hanse.runtime.gate.npy import read_array
from hanse.runtime.gate.questions import SPARE
from hanse.runtime.ledger import LedgerUnavailable
from tests.unit.runtime.gate.private_pod import (
    MODEL,
    SILO,
    Pod,
    answer,
    code,
    grid,
    metrics,
    moved,
    record,
    reply,
    train,
)

ASKS = SILO.max_attempts + SPARE


def test_codes_of_refused_replies_are_not_asked_for_without_end(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    spelled = {"arrays": record(MODEL | {"head": np.full(3, np.nan, np.float32)}), "metrics": metrics()}
    for _ in range(ASKS):
        gate = pod.gate()  # also when it is killed in between
        asked = train()
        assert isinstance(gate.before(asked), Forward)
        assert code(lambda: gate.after(asked.bare(), spelled)) == ReplyCode.NON_FINITE_UPDATE  # noqa: B023
    assert code(lambda: pod.gate().before(train())) == ReplyCode.ATTEMPTS_EXHAUSTED
    assert pod.paid() == []
    answer(pod.gate(), train(2, moved()), reply())  # the next round has questions of its own
    assert pod.paid() == ["Train-2-1"]


def test_bytes_that_are_paid_for_are_sent_again_as_often_as_they_are_lost(tmp_path: Path) -> None:
    gate = Pod(tmp_path).gate()
    first = grid(answer(gate, train(), reply()))
    for _ in range(3 * ASKS):
        decision = gate.before(train())
        assert isinstance(decision, Ready)
        assert grid(decision.content) == first


def test_arrays_that_nobody_shares_are_never_the_servers(tmp_path: Path) -> None:
    gate = Pod(tmp_path, personal_layers=["head"]).gate()
    imprint = MODEL | {"head": np.full(3, 1e6, np.float32), "bn.running_mean": np.full(5, 1e6, np.float32)}
    decision = gate.before(train(1, imprint))
    assert isinstance(decision, Forward)
    for name in ("head", "bn.running_mean", "bn.num_batches_tracked"):
        assert read_array(name, decision.arrays[name]) == pytest.approx(MODEL[name])


def test_a_second_model_beside_the_compared_one_is_refused(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    asked = train()
    more = Asked("train", {**asked.content, "imprint": record({"w": np.full(3, 1e6, np.float32)})})
    assert code(lambda: pod.gate().before(more)) == ReplyCode.INITIAL_MODEL_MISMATCH


def test_bytes_of_another_plan_are_not_paid_at_this_ones_price(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`hanse run --resume` with more rounds: the noise of each is another."""
    pod = Pod(tmp_path)
    gate, asked, stored = pod.gate(), train(), []

    def lost(self: Any, slot: Any, digest: str) -> None:
        stored.append(digest)
        raise LedgerUnavailable("no answer")

    gate.before(asked)
    with monkeypatch.context() as broken:
        broken.setattr("hanse.runtime.ledger.file.FileLease.charge", lost)
        assert code(lambda: gate.after(asked.bare(), reply())) == ReplyCode.LEDGER_UNAVAILABLE
    assert stored, "its bytes lie on the disk, unpaid"
    book, now = pod.book, datetime.now(UTC)
    plan = SILO.model_copy(update={"noise_multipliers": ["50"] * 3})
    with book.locked():
        made = book.account(pod.account)
        assert made is not None
        update = {"plan": plan, "plan_hash": "sha256:" + "c" * 64, "lease_until": now + timedelta(hours=1)}
        book.write("reserve", now, account=pod.account, value=made.model_copy(update=update).to_wire())
    pod.plan, pod.config = plan, pod.config.model_copy(update={"plan_hash": "sha256:" + "c" * 64, "privacy": plan})
    assert isinstance(pod.gate().before(train()), Forward), "the app is asked again"
