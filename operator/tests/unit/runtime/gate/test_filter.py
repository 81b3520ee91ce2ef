"""Filters of jobs without privacy: personal layers, the committed count, compressed updates."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanse.api.compression import Compression
from hanse.api.participation import JobRef
from hanse.api.replies import ReplyCode
from hanse.api.runconfig import ClientConfig, ClientDataset, RunConfig, ServerParticipant
from hanse.runtime.aggregation.received import Receiver
from hanse.runtime.gate.compressed import CompressedFilter
from hanse.runtime.gate.content import Content
from hanse.runtime.gate.filter import Asked, Filter, Forward, open_filter
from hanse.runtime.gate.npy import read_array
from hanse.runtime.gate.refused import Refused
from tests.unit.runtime.gate.private_pod import MODEL, SHARED, metrics, record, train
from tests.unit.runtime.gate.sample_job import HASH, UID

JOB = JobRef(namespace="consortium", name="credit", uid=UID)


def config(**changes: Any) -> ClientConfig:
    fields: dict[str, Any] = {
        "job": JOB,
        "participant": "bank-a",
        "index": 0,
        "participants": 1,
        "server_address": "server:9443",
        "client_app": "app:app",
        "dataset": ClientDataset(name="loans", path="loans.csv"),
        "plan_hash": HASH,
    }
    return ClientConfig(**(fields | changes))


def reply(by: float = 0.01, count: Any = 42) -> Content:
    arrays = {name: value + np.asarray(by, value.dtype) for name, value in MODEL.items()}
    return {"arrays": record(arrays), "metrics": metrics(**{"num-examples": count, "loss": 0.5})}


def through(chosen: Filter, asked: Asked, given: Content) -> Content:
    assert isinstance(chosen.before(asked), Forward)
    return chosen.after(asked.bare(), given)


def test_without_privacy_the_apps_reply_leaves_as_it_is(tmp_path: Path) -> None:
    assert through(open_filter(config(), tmp_path), train(), reply()) == reply()


def test_the_first_count_holds_for_each_kind_of_message(tmp_path: Path) -> None:
    chosen = open_filter(config(), tmp_path)
    assert through(chosen, train(), reply(count=42))["metrics"].values["num-examples"] == 42
    for again in (chosen, open_filter(config(), tmp_path)):
        assert through(again, train(), reply(count=7))["metrics"].values["num-examples"] == 42
    evaluated = through(chosen, train(kind="evaluate"), {"metrics": metrics(**{"num-examples": 9, "auc": 0.5})})
    assert evaluated["metrics"].values == {"num-examples": 9, "auc": 0.5}


def test_the_owners_count_holds_before_the_apps(tmp_path: Path) -> None:
    declared = config(dataset=ClientDataset(name="loans", path="loans.csv", records=100))
    assert through(open_filter(declared, tmp_path), train(), reply())["metrics"].values["num-examples"] == 100


@pytest.mark.parametrize("count", [-1, 1.5, True, [3]])
def test_a_count_that_is_none_is_refused(tmp_path: Path, count: Any) -> None:
    with pytest.raises(Refused) as refused:
        through(open_filter(config(), tmp_path), train(), reply(count=count))
    assert refused.value.code == ReplyCode.NOT_ALLOWED_IN_REPLY


def test_personal_layers_stay_and_come_back_after_a_restart(tmp_path: Path) -> None:
    personal = config(personal_layers=["bn.*", "head"])
    left = through(open_filter(personal, tmp_path), train(), reply())
    assert left["arrays"].arrays.keys() == {"layer.weight"}
    decision = open_filter(personal, tmp_path).before(train(2))
    assert isinstance(decision, Forward)
    assert decision.arrays.keys() == MODEL.keys() - {"layer.weight"}
    assert read_array("head", decision.arrays["head"]) == pytest.approx(0.01)


@pytest.mark.parametrize(
    "compression", [{"quantizationBits": 8}, {"quantizationBits": 15}, {"sparsity": {"fraction": "0.5"}}]
)
def test_a_compressed_update_decodes_to_what_the_app_made(tmp_path: Path, compression: Any) -> None:
    wanted = Compression.model_validate(compression)
    chosen = CompressedFilter(config(compression=wanted), tmp_path)
    left = through(chosen, train(), reply(0.25))
    assert left.keys() == {"update", "metrics"}
    assert left["metrics"].values["loss"] == 0.5
    run = RunConfig(
        job=JOB,
        client_app="app:app",
        participants=[ServerParticipant(name="bank-a", index=0, public_key="", plan_hash=HASH)],
        quorum=1,
        rounds=1,
        compression=wanted,
    )
    found = Receiver(run).update(MODEL, run.participants[0], 1, read_array("g", left["update"].arrays["grid"]))
    assert found.keys() == set(SHARED)
    step = np.concatenate([(found[name] - MODEL[name]).reshape(-1) for name in SHARED])
    assert step.mean() == pytest.approx(0.25, abs=0.02)
    decision = chosen.before(train(2))
    assert isinstance(decision, Forward)
    assert decision.arrays.keys() == MODEL.keys() - set(SHARED)


def test_a_compressed_job_without_an_update_is_refused(tmp_path: Path) -> None:
    chosen = CompressedFilter(config(compression=Compression(quantization_bits=8)), tmp_path)
    with pytest.raises(Refused):
        through(chosen, train(), {"metrics": metrics(**{"num-examples": 3})})
