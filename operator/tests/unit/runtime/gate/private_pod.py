"""A gate's own files of a private job, as a pod has them, and the filter that it builds of them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from hanse.api import names
from hanse.api.budget import Account, PrivacyBudgetSpec
from hanse.api.participant import ColumnRange, DatasetSchema
from hanse.api.participation import JobRef
from hanse.api.paths import Paths
from hanse.api.privacy import PrivacyPlan
from hanse.api.runconfig import ClientConfig, ClientDataset
from hanse.pki.identity import new_identity
from hanse.runtime.durable import replace_file
from hanse.runtime.flower import wire
from hanse.runtime.gate.build import private_filter
from hanse.runtime.gate.content import Content, RecordKind, RecordView
from hanse.runtime.gate.filter import Asked, Forward
from hanse.runtime.gate.frames import Frame, head_of
from hanse.runtime.gate.initial import FILE
from hanse.runtime.gate.npy import view_of
from hanse.runtime.gate.private import PrivateFilter
from hanse.runtime.ledger.book import Book

UID = "11111111-2222-3333-4444-555555555555"
HASH = "sha256:" + "b" * 64
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
        schema = DatasetSchema(label="default", ranges={n: ColumnRange(low="0", high="1") for n in ("age", "income")})
        fields: dict[str, Any] = {
            "job": JobRef(namespace="consortium", name="credit", uid=UID),
            "participant": "bank-a",
            "index": 0,
            "participants": 2,
            "server_address": "server:9443",
            "client_app": "app:app",
            "dataset": ClientDataset(name="loans", path="loans.csv", records=100, schema_=schema),
            "plan_hash": HASH,
            "privacy": plan,
            "population": "borrowers",
            "ledger": "File",
        }
        self.config = ClientConfig(**(fields | changes))
        self.account = names.account_id(UID, "bank-a")
        self.paths.ledger.mkdir(parents=True)
        self.paths.identity_key.parent.mkdir(parents=True)
        self.paths.identity_key.write_text(new_identity().private)
        self.initial(MODEL if model is None else model)
        self.reserve()

    def initial(self, arrays: Arrays) -> None:
        content = RecordDict(
            {
                "arrays": ArrayRecord({name: Array(value) for name, value in arrays.items()}),
                "app": ConfigRecord({"statistics": False, "model": "{}"}),
            }
        )
        blobs = wire.pack(content)
        replace_file(self.paths.initial / FILE, b"".join([head_of(Frame("initial", {}, blobs)), *blobs]))

    @property
    def book(self) -> Book:
        return Book(self.paths.ledger, "borrowers")

    def reserve(self) -> None:
        book, now = self.book, datetime.now(UTC)
        made = Account(
            job=self.config.job,
            participation="credit-bank-a-12345678",
            plan_hash=HASH,
            plan=self.plan,
            lease_until=now + timedelta(hours=1),
        )
        spec = PrivacyBudgetSpec(unit=self.plan.unit, epsilon="100", delta="1e-5")
        with book.locked():
            book.write("budget", now, spec=spec.to_wire())
            book.write("reserve", now, account=self.account, value=made.to_wire())

    def gate(self) -> PrivateFilter:
        return private_filter(self.config, self.plan, self.paths)

    def paid(self) -> list[str]:
        """Slots that were paid."""
        book = self.book
        with book.locked():
            account = book.account(self.account)
        return [] if account is None else list(account.releases)


def answer(gate: PrivateFilter, asked: Asked, reply: Content) -> Content:
    """The reply through both halves of the filter; the trainer must have been asked."""
    assert isinstance(gate.before(asked), Forward)
    return gate.after(asked.bare(), reply)


def grid(content: Content) -> bytes:
    """The bytes of an update."""
    return content["update"].arrays["grid"].data
