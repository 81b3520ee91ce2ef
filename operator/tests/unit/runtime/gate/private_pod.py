"""A gate of a private job, with its own files as a pod has them, and the filter that it builds of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanse.api.budget import Account
from hanse.api.paths import Paths
from hanse.api.privacy import PrivacyPlan
from hanse.api.replies import ReplyCode
from hanse.api.runconfig import RunConfig, ServerParticipant
from hanse.pki.identity import new_identity
from hanse.runtime.aggregation.received import Receiver
from hanse.runtime.gate.build import private_filter
from hanse.runtime.gate.content import Content, RecordKind, RecordView
from hanse.runtime.gate.filter import Asked, Forward
from hanse.runtime.gate.npy import read_array, view_of
from hanse.runtime.gate.private import PrivateFilter
from hanse.runtime.gate.refused import Refused
from hanse.runtime.ledger.book import Book
from tests.unit.runtime.gate import sample_job

SILO = PrivacyPlan(
    unit="Silo", adjacency="Replace", epsilon="3", delta="1e-5", clip="1", noise_multipliers=["5", "4", "3"]
)
RECORD = PrivacyPlan(
    unit="Record",
    adjacency="AddRemove",
    epsilon="3",
    delta="1e-5",
    clip="1",
    sample_rate="0.1",
    expected_batch=10,
    noise_multipliers=["5"] * 3,
)
MODEL = {
    "layer.weight": np.linspace(-1, 1, 40, dtype=np.float32).reshape(8, 5),
    "bn.running_mean": np.zeros(5, np.float32),
    "bn.num_batches_tracked": np.asarray(0, np.int64),
    "head": np.zeros(3, np.float32),
}
SHARED = ("layer.weight", "head")
#: Without BatchNorm, as unit Record needs it.
PLAIN = {name: MODEL[name] for name in SHARED}

Arrays = dict[str, Any]


def record(arrays: Arrays) -> RecordView:
    return RecordView(RecordKind.ARRAYS, arrays={name: view_of(np.asarray(a)) for name, a in arrays.items()})


def metrics(**values: Any) -> RecordView:
    return RecordView(RecordKind.METRICS, values=values)


def train(number: int = 1, arrays: Arrays | None = None, kind: str = "train") -> Asked:
    config = RecordView(RecordKind.CONFIG, values={"server-round": number})
    return Asked(kind, {"arrays": record(MODEL if arrays is None else arrays), "config": config})


class Pod:
    """Directories of one gate; `gate` starts it (again)."""

    def __init__(self, root: Path, plan: PrivacyPlan = SILO, model: Arrays | None = None, **changes: Any) -> None:
        self.paths = Paths(root)
        self.plan = plan
        self.config = sample_job.client_config("bank-a", 0, 2, 100, plan, **changes)
        self.account = sample_job.account_id(self.config)
        sample_job.write_identity(self.paths, new_identity())
        sample_job.write_initial(self.paths, MODEL if model is None else model)
        sample_job.reserve(self.paths, self.config)

    @property
    def book(self) -> Book:
        return sample_job.book_of(self.paths)

    def known(self) -> Account | None:
        """The owner's account of this job."""
        return sample_job.account(self.paths, self.config)

    def gate(self) -> PrivateFilter:
        return private_filter(self.config, self.plan, self.paths)

    def paid(self) -> list[str]:
        """Slots that were paid."""
        return sample_job.paid(self.paths, self.config)


def answer(gate: PrivateFilter, asked: Asked, reply: Content) -> Content:
    """The reply through both halves of the filter; the trainer must have been asked."""
    assert isinstance(gate.before(asked), Forward)
    return gate.after(asked.bare(), reply)


def grid(content: Content) -> bytes:
    """The bytes of an update."""
    return content["update"].arrays["grid"].data


def moved(by: float = 0.01) -> Arrays:
    """A model of the server's, a little further."""
    return {name: value + np.asarray(by, value.dtype) for name, value in MODEL.items()}


def reply(arrays: Arrays | None = None, **values: Any) -> Content:
    """What the trainer answers to a round of training."""
    told = {"num-examples": 42, "train_loss": 0.5} | values
    return {"arrays": record(moved() if arrays is None else arrays), "metrics": metrics(**told)}


def code(call: Any) -> ReplyCode:
    """The call must be refused; by which code."""
    with pytest.raises(Refused) as refused:
        call()
    return refused.value.code


def received(pod: Pod, content: Content, number: int = 1) -> Arrays:
    """What the server makes of an update."""
    sender = ServerParticipant(name="bank-a", index=0, public_key="", plan_hash=sample_job.HASH, expected_batch=10)
    config = RunConfig(
        job=sample_job.JOB,
        client_app="app:app",
        participants=[
            ServerParticipant(name="bank-a", index=0, public_key="", plan_hash=sample_job.HASH, expected_batch=10)
        ],
        quorum=1,
        rounds=3,
        privacy=pod.plan,
        config={"learning-rate": "0.5"},
    )
    message = read_array("grid", content["update"].arrays["grid"])
    return Receiver(config).update(MODEL, sender, number, message)
