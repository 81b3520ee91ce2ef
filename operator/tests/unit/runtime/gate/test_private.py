"""The filter of a private job, with its real ledger, codec and noise: what leaves, what is paid, what is refused."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanse.api.compression import Compression
from hanse.api.participation import JobRef
from hanse.api.privacy import EvaluationPlan, PrivacyPlan, StatisticsPlan
from hanse.api.replies import ReplyCode
from hanse.api.runconfig import RunConfig, ServerParticipant
from hanse.runtime.aggregation.received import Receiver
from hanse.runtime.gate.answers import Decider
from hanse.runtime.gate.build import BadPlan
from hanse.runtime.gate.content import Content, RecordKind, RecordView
from hanse.runtime.gate.filter import Asked, Ready
from hanse.runtime.gate.histograms import evaluation_histograms
from hanse.runtime.gate.npy import read_array
from hanse.runtime.gate.refused import Refused
from hanse.runtime.ledger import LedgerUnavailable
from tests.unit.runtime.gate.private_pod import (
    HASH,
    MODEL,
    RECORD,
    SHARED,
    SILO,
    UID,
    Pod,
    answer,
    grid,
    metrics,
    record,
    train,
)

#: Without BatchNorm, as unit Record needs it.
PLAIN = {name: MODEL[name] for name in SHARED}


def test_shares_of_noise_do_not_leave_in_the_open(tmp_path: Path) -> None:
    shared = SILO.model_copy(update={"mechanism": "Distributed", "quorum": 2, "collusion_threshold": 0})
    with pytest.raises(BadPlan, match="needs encryption"):
        Pod(tmp_path, shared).gate()


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def moved(by: float = 0.01) -> dict[str, Any]:
    return {name: value + np.asarray(by, value.dtype) for name, value in MODEL.items()}


def reply(arrays: dict[str, Any] | None = None, **values: Any) -> Content:
    told = {"num-examples": 42, "train_loss": 0.5} | values
    return {"arrays": record(moved() if arrays is None else arrays), "metrics": metrics(**told)}


def code(call: Any) -> ReplyCode:
    with pytest.raises(Refused) as refused:
        call()
    return refused.value.code


def received(pod: Pod, content: Content, number: int = 1) -> dict[str, Any]:
    config = RunConfig(
        job=JobRef(namespace="consortium", name="credit", uid=UID),
        client_app="app:app",
        participants=[ServerParticipant(name="bank-a", index=0, public_key="", plan_hash=HASH, expected_batch=10)],
        quorum=1,
        rounds=3,
        privacy=pod.plan,
        config={"learning-rate": "0.5"},
    )
    message = read_array("grid", content["update"].arrays["grid"])
    return Receiver(config).update(MODEL, config.participants[0], number, message)


# -- what leaves


def test_an_update_leaves_as_noised_bytes_and_the_declared_count(pod: Pod) -> None:
    left = answer(pod.gate(), train(), reply())
    assert left.keys() == {"update", "metrics"}
    assert left["update"].arrays.keys() == {"grid"}
    assert left["metrics"].values == {"num-examples": 100}
    assert pod.paid() == ["Train-1-1"]


def test_the_server_gets_the_clipped_difference_and_noise(tmp_path: Path) -> None:
    quiet = SILO.model_copy(update={"noise_multipliers": ["0.01"] * 3})
    pod = Pod(tmp_path, quiet)
    left = answer(pod.gate(), train(), reply({n: a + np.asarray(9, a.dtype) for n, a in MODEL.items()}))
    found = received(pod, left)
    assert set(found) == set(SHARED)
    step = np.concatenate([(found[n] - MODEL[n]).reshape(-1) for n in SHARED])
    # Nine in each of 43 entries, clipped to the norm 1; the noise is 0.02 in each.
    assert np.linalg.norm(step) == pytest.approx(1.0, abs=0.3)
    assert step.mean() == pytest.approx(1 / np.sqrt(43), abs=0.05)


def test_a_record_job_steps_by_the_sum_over_the_expected_batch(tmp_path: Path) -> None:
    quiet = RECORD.model_copy(update={"noise_multipliers": ["0.01"] * 3})
    pod = Pod(tmp_path, quiet, model=PLAIN)
    sums = {name: np.zeros_like(value) for name, value in PLAIN.items()}
    sums["head"] = np.full(3, 2.0, np.float64)
    found = received(pod, answer(pod.gate(), train(1, PLAIN), reply(sums)))
    assert found["head"] - MODEL["head"] == pytest.approx(-0.5 * 2.0 / 10, abs=0.02)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1.0, 1e30])
def test_the_size_of_what_leaves_says_nothing(pod: Pod, size: float) -> None:
    arrays = {n: a if a.dtype.kind != "f" else np.full_like(a, size) for n, a in MODEL.items()}
    left = answer(pod.gate(), train(), reply(arrays))
    shape = left["update"].arrays["grid"].shape
    assert shape == (4 * 43 + 4,)


def test_the_initial_model_leaves_without_asking_the_app(pod: Pod) -> None:
    decision = pod.gate().before(Asked("query.initial", {}))
    assert isinstance(decision, Ready)
    assert set(decision.content["arrays"].arrays) == set(MODEL)
    assert pod.paid() == []


def test_buffers_of_batch_norm_and_personal_layers_stay_and_come_back(tmp_path: Path) -> None:
    pod = Pod(tmp_path, personal_layers=["head"])
    gate = pod.gate()
    left = answer(gate, train(), reply())
    assert left["update"].arrays["grid"].shape == (4 * 40 + 4,)
    for again in (gate, pod.gate()):
        decision = again.before(train(2))
        assert not isinstance(decision, Ready)
        assert set(decision.arrays) == {"head", "bn.running_mean", "bn.num_batches_tracked"}
        assert read_array("head", decision.arrays["head"]) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("compression", "size"),
    [
        ({"quantizationBits": 15}, 4 + (43 * 15 + 7) // 8),
        ({"sparsity": {"fraction": "0.5"}}, 4 + 4 * 22),
        ({"quantizationBits": 15, "sparsity": {"fraction": "0.5"}, "errorFeedback": True}, 4 + (22 * 15 + 7) // 8),
    ],
)
def test_smaller_messages_are_noised_and_of_one_size(tmp_path: Path, compression: Any, size: int) -> None:
    quiet = SILO.model_copy(update={"noise_multipliers": ["0.5"] * 3})
    pod = Pod(tmp_path, quiet, compression=Compression.model_validate(compression))
    gate = pod.gate()
    shapes = {
        answer(gate, train(n, moved(0.01 * (n - 1)) if n > 1 else MODEL), reply())["update"].arrays["grid"].shape
        for n in (1, 2, 3)
    }
    assert shapes == {(size,)}
    assert (pod.paths.state / "carried.npy").exists() == bool(compression.get("errorFeedback"))


def test_batch_norm_is_refused_for_records_and_the_remedy_is_named(tmp_path: Path) -> None:
    pod = Pod(tmp_path, RECORD)
    with pytest.raises(BadPlan, match="GroupNorm"):
        pod.gate()


# -- paid once


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


# -- global models


def test_a_first_model_that_was_not_made_here_is_refused(pod: Pod) -> None:
    changed = MODEL | {"head": np.full(3, 1e-6, np.float32)}
    assert code(lambda: pod.gate().before(train(1, changed))) == ReplyCode.INITIAL_MODEL_MISMATCH


@pytest.mark.parametrize(
    "changed",
    [
        {n: a for n, a in MODEL.items() if n != "head"},
        MODEL | {"imprint": np.ones(3, np.float32)},
        MODEL | {"head": np.zeros(4, np.float32)},
        MODEL | {"head": np.zeros(3, np.float64)},
    ],
)
def test_a_model_of_another_form_is_refused(pod: Pod, changed: dict[str, Any]) -> None:
    assert code(lambda: pod.gate().before(train(1, changed))) == ReplyCode.INITIAL_MODEL_MISMATCH


def test_a_model_steps_as_far_as_honest_rounds_do_and_no_further(pod: Pod) -> None:
    gate = pod.gate()
    answer(gate, train(), reply())
    imprint = MODEL | {"layer.weight": np.full((8, 5), 1e4, np.float32)}
    assert code(lambda: gate.before(train(2, imprint))) == ReplyCode.STEP_TOO_LARGE
    assert code(lambda: gate.before(train(2, MODEL | {"head": np.full(3, np.nan, np.float32)}))) == (
        ReplyCode.STEP_TOO_LARGE
    )
    answer(gate, train(2, moved()), reply())
    assert code(lambda: pod.gate().before(train(3, imprint))) == ReplyCode.STEP_TOO_LARGE
    assert pod.paid() == ["Train-1-1", "Train-2-1"]


def test_another_model_for_a_paid_round_is_refused(pod: Pod) -> None:
    gate = pod.gate()
    answer(gate, train(), reply())
    answer(gate, train(2, moved()), reply())
    assert code(lambda: gate.before(train(2, moved(0.02)))) == ReplyCode.ALREADY_RELEASED


# -- histograms

COUNTED = RECORD.model_copy(
    update={
        "statistics": StatisticsPlan(noise_multiplier="5", bins=4),
        "evaluation": EvaluationPlan(noise_multiplier="5", bins=8, every_rounds=2),
    }
)


def counting(tmp_path: Path, plan: PrivacyPlan = COUNTED) -> Pod:
    return Pod(tmp_path, plan, model=PLAIN)


def plain_reply() -> Content:
    return reply({name: moved()[name] for name in PLAIN})


def plain(by: float = 0.01) -> dict[str, Any]:
    return {name: moved(by)[name] for name in PLAIN}


def scores(value: int = 10) -> Content:
    return {
        "histograms": record({"scores": np.full((2, 8), value, np.int64), "loss": np.full((1, 8), value, np.int64)})
    }


def test_counts_leave_with_noise_and_the_declared_number_of_records(tmp_path: Path) -> None:
    pod = counting(tmp_path)
    gate = pod.gate()
    counts = np.full((2, 4), 25, np.int64)
    asked = Asked("query.statistics", {})
    left = answer(gate, asked, {"histograms": record({"features": counts})})
    found = read_array("features", left["histograms"].arrays["features"])
    assert found.shape == (2, 4)
    assert (found != counts).any()
    assert left["metrics"].values == {"num-examples": 100}
    again = gate.before(asked)
    assert isinstance(again, Ready)
    assert again.content == left
    assert pod.paid() == ["Statistics-0-1"]


def test_evaluation_leaves_in_its_rounds_alone(tmp_path: Path) -> None:
    pod = counting(tmp_path)
    gate = pod.gate()
    answer(gate, train(1, PLAIN), plain_reply())
    assert code(lambda: gate.before(train(1, plain(), "evaluate"))) == ReplyCode.NOT_ALLOWED_IN_REPLY
    answer(gate, train(2, plain()), plain_reply())
    left = answer(gate, train(2, plain(), "evaluate"), scores())
    assert left.keys() == {"histograms", "metrics"}
    assert pod.paid() == ["Train-1-1", "Train-2-1", "Evaluate-2-1"]


@pytest.mark.parametrize(
    "spoilt",
    [
        {"histograms": record({"scores": np.zeros((2, 9), np.int64), "loss": np.zeros((1, 8), np.int64)})},
        {"histograms": record({"scores": np.zeros((2, 8), np.float64), "loss": np.zeros((1, 8), np.int64)})},
        {"histograms": record({"scores": np.zeros((2, 8), np.int64)})},
        {"metrics": metrics(**{"num-examples": 3, "auc": 0.5})},
        scores() | {"metrics": metrics(auc=0.5)},
    ],
)
def test_an_evaluation_of_another_form_is_refused(tmp_path: Path, spoilt: Content) -> None:
    every = EvaluationPlan(noise_multiplier="5", bins=8, every_rounds=1)
    pod = counting(tmp_path, COUNTED.model_copy(update={"evaluation": every}))
    gate = pod.gate()
    asked = train(1, plain(), "evaluate")
    gate.before(asked)
    with pytest.raises(Refused):
        gate.after(asked.bare(), spoilt)
    assert pod.paid() == []


@pytest.mark.parametrize(("unit", "sensitivity"), [("Record", np.sqrt(2)), ("Silo", 2 * 100 * np.sqrt(2))])
def test_counts_are_bounded_and_noised_by_their_sensitivity(unit: Any, sensitivity: float) -> None:
    drawn: list[tuple[float, int]] = []

    class Silent:
        def draw(self, sigma: float, count: int) -> Any:
            drawn.append((sigma, count))
            return np.zeros(count, np.int64)

    form = evaluation_histograms(8, unit, records=100)
    hostile = {"scores": np.full((2, 8), 1 << 40, np.int64), "loss": np.full((1, 8), -5, np.int64)}
    found = form.unpack(form.release(hostile, 3.0, Silent()))
    assert drawn == [(pytest.approx(3.0 * sensitivity), 24)]
    assert found["loss"].min() == 0
    assert found["scores"].max() <= 100
    if unit == "Silo":
        assert np.linalg.norm(found["scores"]) <= 100 * np.sqrt(2)


# -- what is refused


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (train(0), ReplyCode.NOT_ALLOWED_IN_REPLY),
        (train(4), ReplyCode.NOT_ALLOWED_IN_REPLY),
        (train(1, kind="train.other"), ReplyCode.NOT_ALLOWED_IN_REPLY),
        (train(1, kind="evaluate"), ReplyCode.STEP_TOO_LARGE),
        (train(1, kind="query.statistics"), ReplyCode.NOT_ALLOWED_IN_REPLY),
        (train(1, kind="query.rows"), ReplyCode.NOT_ALLOWED_IN_REPLY),
        (Asked("train", {}), ReplyCode.NOT_ALLOWED_IN_REPLY),
    ],
)
def test_what_the_plan_does_not_have_is_not_asked_of_the_app(pod: Pod, asked: Asked, expected: ReplyCode) -> None:
    found = code(lambda: pod.gate().before(asked))
    assert found in (expected, ReplyCode.NOT_ALLOWED_IN_REPLY)


@pytest.mark.parametrize(
    ("spoilt", "expected"),
    [
        (reply(moved() | {"head": np.array([1000, np.nan, 5], np.float32)}), ReplyCode.NON_FINITE_UPDATE),
        (reply(moved() | {"head": np.array([1, np.inf, 5], np.float32)}), ReplyCode.NON_FINITE_UPDATE),
        (reply(moved() | {"rows": np.ones(3)}), ReplyCode.UPDATE_MISMATCH),
        (reply({"head": MODEL["head"]}), ReplyCode.UPDATE_MISMATCH),
        (reply(auc=0.5), ReplyCode.NOT_ALLOWED_IN_REPLY),
        (reply(**{"row-42": 1.0}), ReplyCode.NOT_ALLOWED_IN_REPLY),
        (reply(train_loss=[0.5]), ReplyCode.NOT_ALLOWED_IN_REPLY),
        (reply(train_loss=float("nan")), ReplyCode.NON_FINITE_METRIC),
        (reply() | {"c": RecordView(RecordKind.CONFIG, values={"row": "42"})}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        (reply() | {"more": record(MODEL)}, ReplyCode.NOT_ALLOWED_IN_REPLY),
        ({"metrics": metrics(**{"num-examples": 3})}, ReplyCode.UPDATE_MISMATCH),
        ({}, ReplyCode.UPDATE_MISMATCH),
    ],
)
def test_a_reply_of_another_form_is_refused_and_costs_nothing(pod: Pod, spoilt: Content, expected: ReplyCode) -> None:
    gate = pod.gate()
    asked = train()
    gate.before(asked)
    assert code(lambda: gate.after(asked.bare(), spoilt)) == expected
    assert pod.paid() == []


def test_a_second_reply_to_one_question_is_refused(pod: Pod) -> None:
    gate = pod.gate()
    answer(gate, train(), reply())
    assert code(lambda: gate.after(train().bare(), reply(moved(0.02)))) == ReplyCode.NOT_ALLOWED_IN_REPLY


# -- the faults of Flower's own mods (docs/known-issues.md)


def test_an_update_of_zeros_gets_noise_like_any_other(pod: Pod) -> None:
    left = answer(pod.gate(), train(), reply(MODEL))
    step = received(pod, left)["layer.weight"] - MODEL["layer.weight"]
    assert np.abs(step).max() > 0.1


def test_integer_arrays_neither_fail_nor_leave(pod: Pod) -> None:
    left = answer(pod.gate(), train(), reply(moved() | {"bn.num_batches_tracked": np.asarray(7, np.int64)}))
    assert "bn.num_batches_tracked" not in received(pod, left)


def test_the_noise_is_not_numpys_global_generator(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        np.random.seed(0)  # that it has no effect is the point
        found.append(grid(answer(Pod(tmp_path / name).gate(), train(), reply())))
    assert found[0] != found[1]


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
