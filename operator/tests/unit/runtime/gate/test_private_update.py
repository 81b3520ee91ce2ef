"""What leaves a private job's gate in a round of training: noised, clipped, of one size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanse.api.compression import Compression
from hanse.runtime.gate.build import BadPlan
from hanse.runtime.gate.filter import Asked, Ready
from hanse.runtime.gate.npy import read_array
from tests.unit.runtime.gate.private_pod import (
    MODEL,
    PLAIN,
    RECORD,
    SHARED,
    SILO,
    Pod,
    answer,
    grid,
    moved,
    received,
    reply,
    train,
)


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


# The faults of Flower's own mods (docs/known-issues.md)


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
