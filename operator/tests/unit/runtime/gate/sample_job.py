"""The job that the tests' gates belong to, and the files of one gate, as a pod has them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
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
from hanse.pki.identity import IdentityKey
from hanse.runtime.durable import replace_file
from hanse.runtime.flower import wire
from hanse.runtime.gate.frames import Frame, head_of
from hanse.runtime.gate.initial import FILE
from hanse.runtime.ledger.book import Book

UID = "11111111-2222-3333-4444-555555555555"
HASH = "sha256:" + "b" * 64
JOB = JobRef(namespace="consortium", name="credit", uid=UID)
POPULATION = "borrowers"
SCHEMA = DatasetSchema(label="default", ranges={name: ColumnRange(low="0", high="1") for name in ("age", "income")})


def client_config(
    participant: str, index: int, participants: int, records: int, privacy: PrivacyPlan | None, **changes: Any
) -> ClientConfig:
    """client.json of one participant."""
    fields: dict[str, Any] = {
        "job": JOB,
        "participant": participant,
        "index": index,
        "participants": participants,
        "server_address": "server:9443",
        "client_app": "app:app",
        "dataset": ClientDataset(name="loans", path="loans.csv", records=records, schema_=SCHEMA),
        "plan_hash": HASH,
        "privacy": privacy,
        "population": POPULATION,
        "ledger": "File",
    }
    return ClientConfig(**(fields | changes))


def write_identity(paths: Paths, identity: IdentityKey) -> None:
    """The participant's key."""
    paths.identity_key.parent.mkdir(parents=True)
    paths.identity_key.write_text(identity.private)


def write_initial(paths: Paths, arrays: Mapping[str, Any]) -> None:
    """The first model, which this gate has made."""
    record = ArrayRecord({name: Array(np.asarray(value)) for name, value in arrays.items()})
    blobs = wire.pack(RecordDict({"arrays": record, "app": ConfigRecord({"statistics": False, "model": "{}"})}))
    replace_file(paths.initial / FILE, b"".join([head_of(Frame("initial", {}, blobs)), *blobs]))


def book_of(paths: Paths) -> Book:
    """The owner's ledger, read afresh."""
    return Book(paths.ledger, POPULATION)


def reserve(paths: Paths, config: ClientConfig) -> None:
    """A budget with a reservation for this job."""
    assert config.privacy is not None
    paths.ledger.mkdir(parents=True, exist_ok=True)
    book, now = book_of(paths), datetime.now(UTC)
    made = Account(
        job=config.job,
        participation=f"credit-{config.participant}-12345678",
        plan_hash=config.plan_hash,
        plan=config.privacy,
        lease_until=now + timedelta(hours=1),
    )
    spec = PrivacyBudgetSpec(unit=config.privacy.unit, epsilon="1000", delta="1e-3")
    with book.locked():
        book.write("budget", now, spec=spec.to_wire())
        book.write("reserve", now, account=account_id(config), value=made.to_wire())


def account_id(config: ClientConfig) -> str:
    """What the ledger calls the job's account."""
    return names.account_id(config.job.uid, config.participant)


def account(paths: Paths, config: ClientConfig) -> Account | None:
    """The account as it is now; None before it is reserved."""
    book = book_of(paths)
    with book.locked():
        return book.account(account_id(config))


def paid(paths: Paths, config: ClientConfig) -> list[str]:
    """Slots that were paid, in their order."""
    known = account(paths, config)
    return [] if known is None else list(known.releases)
