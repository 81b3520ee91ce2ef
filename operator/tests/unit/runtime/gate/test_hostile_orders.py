"""Any order of questions, models, kills, lost volumes and faults: what left is paid, one noising for each slot."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hanse.api.privacy import EvaluationPlan, PrivacyPlan, Slot, StatisticsPlan
from hanse.runtime.gate.content import Content, RecordKind, RecordView
from hanse.runtime.gate.filter import Asked, Ready
from hanse.runtime.gate.npy import read_array
from hanse.runtime.gate.outbox import digest_of
from hanse.runtime.gate.private import PrivateFilter
from hanse.runtime.gate.refused import Refused
from hanse.runtime.ledger import LedgerUnavailable
from hanse.runtime.ledger.file import FileLease
from tests.unit.runtime.gate.private_pod import MODEL, RECORD, SHARED, Pod, metrics, record

PLAN: Final[PrivacyPlan] = RECORD.model_copy(
    update={
        "max_attempts": 2,
        "statistics": StatisticsPlan(noise_multiplier="5", bins=4),
        "evaluation": EvaluationPlan(noise_multiplier="5", bins=8, every_rounds=1),
    }
)
FIRST = {name: np.asarray(MODEL[name]) for name in SHARED}

KINDS = ("train", "train", "evaluate", "evaluate", "query.statistics", "query.initial", "train.more")
FAULTS = ("none", "kill", "killed-after-paying", "new-pod", "no-answer", "answer-lost")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.sampled_from([2, 1, 3, 2, 1, 0, 4]), st.integers(0, 1), st.sampled_from(FAULTS)
    ),
    min_size=1,
    max_size=16,
)


def question(kind: str, number: int, variant: int) -> Asked:
    arrays = {name: value + np.float32(0.01 * variant) for name, value in FIRST.items()}
    config = RecordView(RecordKind.CONFIG, values={"server-round": number})
    return Asked(kind, {"arrays": record(arrays), "config": config})


def reply(kind: str, draw: int) -> Content:
    if kind == "train":
        sums = {name: np.full(value.shape, draw, np.float64) for name, value in FIRST.items()}
        return {"arrays": record(sums), "metrics": metrics(**{"num-examples": draw})}
    if kind == "evaluate":
        counts = {"scores": np.full((2, 8), draw, np.int64), "loss": np.full((1, 8), draw, np.int64)}
        return {"histograms": record(counts)}
    return {"histograms": record({"features": np.full((2, 4), draw, np.int64)})}


def payload(content: Content) -> bytes | None:
    """What was noised in it; the first model has no noise."""
    if "app" in content:
        return None
    if "update" in content:
        return content["update"].arrays["grid"].data[-read_array("g", content["update"].arrays["grid"]).size :]
    found = content["histograms"].arrays
    return b"".join(read_array(n, a).astype("<i8").tobytes() for n, a in found.items())


@contextmanager
def faulty(fault: str) -> Iterator[None]:
    """The ledger does not answer before it has written, or after."""
    real = FileLease.charge

    def charge(self: FileLease, slot: Slot, digest: str) -> None:
        if fault == "answer-lost":
            known = self._account
            real(self, slot, digest)
            self._account = known
        raise LedgerUnavailable("no answer")

    with pytest.MonkeyPatch.context() as patch:
        if fault in ("no-answer", "answer-lost"):
            patch.setattr(FileLease, "charge", charge)
        yield


def ask(gate: PrivateFilter, asked: Asked, draw: int) -> Content | None:
    try:
        decision = gate.before(asked)
        return decision.content if isinstance(decision, Ready) else gate.after(asked.bare(), reply(asked.kind, draw))
    except Refused:
        return None


def ledger(pod: Pod) -> dict[str, str]:
    account = pod.known()
    assert account is not None
    return {key: release.digest for key, release in account.releases.items()}


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
@example(steps=[("train", 2, 0, "answer-lost"), ("train", 2, 1, "none")])  # too rare to be drawn
def test_what_leaves_is_paid_and_no_slot_pays_for_two_noisings(steps: list[tuple[str, int, int, str]]) -> None:
    with tempfile.TemporaryDirectory() as root:
        pod = Pod(Path(root), PLAN, model=FIRST)
        gate, left, paid = pod.gate(), set[str](), dict[str, str]()
        for draw, (kind, number, variant, fault) in enumerate(steps):
            with faulty(fault):
                content = ask(gate, question(kind, number, variant), draw)
            noised = payload(content) if content is not None else None
            if noised is not None and fault != "killed-after-paying":
                left.add(digest_of(noised))
            now = ledger(pod)
            assert paid.items() <= now.items(), "no slot is paid a second time, for other bytes"
            paid = now
            assert left <= set(paid.values())
            if fault == "new-pod":
                shutil.rmtree(pod.paths.state)
            if fault in ("kill", "killed-after-paying", "new-pod"):
                gate = pod.gate()
        assert all(PLAN.allows(Slot.parse(key)) for key in paid)


def test_a_payment_whose_answer_was_lost_costs_its_attempt_and_not_the_next() -> None:
    with tempfile.TemporaryDirectory() as root:
        pod = Pod(Path(root), PLAN, model=FIRST)
        gate = pod.gate()
        with faulty("answer-lost"):
            assert ask(gate, question("train", 2, 0), 1) is None
        assert ask(gate, question("train", 2, 1), 2) is None, "other bytes for a slot that is paid"
        assert ask(gate, question("train", 2, 1), 3) is not None
        assert sorted(ledger(pod)) == ["Train-2-1", "Train-2-2"]
