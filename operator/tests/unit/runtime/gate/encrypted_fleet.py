"""Gates of one encrypted job in memory, with real keys, ciphertexts and signatures, and an honest server.

`Fleet` has the gates and their apps; every message goes through the filter as the session would send it (`Gate.ask`).
`Server` is the protocol done right; a test that is hostile asks the gates itself, with `Server`'s parts.
"""

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from hanse.api import names
from hanse.api.aggregation import Aggregation
from hanse.api.budget import Account, PrivacyBudgetSpec
from hanse.api.compression import Compression
from hanse.api.encryption import HALVES, EncryptingScheme, EncryptionPlan, Half, ModelRelease, RosterMember, Scheme
from hanse.api.participant import ColumnRange, DatasetSchema
from hanse.api.participation import JobRef
from hanse.api.paths import Paths
from hanse.api.privacy import PrivacyPlan
from hanse.api.replies import ReplyCode
from hanse.api.runconfig import ClientConfig, ClientDataset
from hanse.pki.identity import IdentityKey, new_identity
from hanse.runtime.agreement import messages as m
from hanse.runtime.agreement.checks import check_contributions, settle, verifiers
from hanse.runtime.agreement.roster import Roster, Signer
from hanse.runtime.agreement.statements import (
    Applied,
    Confirmation,
    Contribution,
    KeyStatement,
    Recomputed,
    Vote,
    digest_of,
    list_digest,
)
from hanse.runtime.durable import replace_file
from hanse.runtime.flower import wire
from hanse.runtime.gate.answers import Answer, Decider
from hanse.runtime.gate.encrypted import EncryptedFilter
from hanse.runtime.gate.encrypted_build import encrypted_filter
from hanse.runtime.gate.encrypted_workers import Workers
from hanse.runtime.gate.frames import Frame, head_of
from hanse.runtime.gate.initial import FILE
from hanse.runtime.he import Cipher, CiphertextInvalid, Points, Summing, engine_of, split_total, split_upload
from hanse.runtime.ledger.book import Book

UID = "11111111-2222-3333-4444-555555555555"
HASH = "sha256:" + "b" * 64
NAMES = ("bank-a", "bank-b", "bank-c")
RECORDS = {"bank-a": 100, "bank-b": 60, "bank-c": 80}
MODEL = {"head": np.zeros(3, np.float32), "layer.weight": np.linspace(-1, 1, 40, dtype=np.float32).reshape(8, 5)}
SILO = PrivacyPlan(unit="Silo", adjacency="Replace", epsilon="100", delta="1e-5", clip="1", noise_multipliers=["5"] * 5)
RECORD = PrivacyPlan(
    unit="Record",
    adjacency="AddRemove",
    epsilon="100",
    delta="1e-5",
    clip="1",
    sample_rate="0.1",
    noise_multipliers=["5"] * 5,
)

Arrays = dict[str, Any]
#: What the app makes of the model: (participant, round, arrays) -> arrays.
Train = Callable[[str, int, Arrays], Arrays]
R = TypeVar("R", bound=m.Message)


class GateRefused(Exception):
    """A gate answered with a code."""

    def __init__(self, name: str, code: ReplyCode | None) -> None:
        super().__init__(f"{name}: {None if code is None else code.name}")
        self.code = code


@contextmanager
def refused(*codes: ReplyCode) -> Iterator[None]:
    """The block must be refused, with one of these codes."""
    with pytest.raises(GateRefused) as caught:
        yield
    assert caught.value.code in codes, caught.value


def step(name: str, number: int, arrays: Arrays) -> Arrays:
    """Training that depends on participant, round and model, and on nothing else."""
    random = np.random.default_rng([number, *name.encode()])
    return {
        key: (array + random.normal(0, 0.05, array.shape)).astype(array.dtype) if array.dtype.kind == "f" else array
        for key, array in arrays.items()
    }


class _CipherHere(Cipher):
    """The same engine and keys without a process: tests that start a hundred gates have no time for one each."""

    def __init__(self, scheme: EncryptingScheme, key: bytes, processes: int | None = None) -> None:
        self._here, self._secret = engine_of(scheme), key

    def encrypt(self, round: int, points: Points) -> bytes:
        return self._here.encrypt(self._here.round_key(self._secret, round), points)

    def decrypt(self, round: int, total: bytes | memoryview, count: int) -> Points:
        return self._here.decrypt(self._here.round_key(self._secret, round), total, count)

    def close(self) -> None:
        pass


class _SummingHere(Summing):
    """As `_CipherHere`."""

    def __init__(self, scheme: Scheme, count: int, most: int = 0, half: Half | None = None) -> None:
        self._here, self._points = engine_of(scheme), count
        self._given: list[bytes | memoryview] = []
        self._half = half

    def add(self, ciphertext: bytes | memoryview) -> None:
        self._here.add([ciphertext], self._points, self._half)
        self._given.append(ciphertext)

    def total(self) -> bytes:
        return self._here.add(self._given, self._points, self._half)

    def reset(self, half: Half | None = None) -> None:
        self._given, self._half = [], half

    def close(self) -> None:
        self._given = []


#: Engines in the test's own process. `Workers()` are those of a pod.
HERE = Workers(_CipherHere, _SummingHere)


@dataclass(frozen=True)
class Reply:
    """What left a gate."""

    records: RecordDict

    def message(self, model: type[R]) -> R:
        """The text in it."""
        return model.model_validate_json(str(self.records.config_records[m.RECORD][m.TEXT]))

    def raw(self, record: str, name: str) -> bytes:
        """The bytes in it."""
        array: Any = self.records.array_records[record][name].numpy()
        return bytes(array.tobytes())

    def arrays(self, record: str = m.ARRAYS) -> Arrays:
        """The arrays in it."""
        return {name: array.numpy() for name, array in self.records.array_records[record].items()}


def request(
    message: m.Message | None = None, arrays: Mapping[str, Mapping[str, bytes]] | None = None, number: int | None = None
) -> RecordDict:
    """A message of the server's: text, bytes by record and name, `server-round`."""
    content = RecordDict()
    if message is not None:
        content[m.RECORD] = ConfigRecord({m.TEXT: message.to_text()})
    if number is not None:
        content["config"] = ConfigRecord({"server-round": number})
    for record, named in (arrays or {}).items():
        content[record] = ArrayRecord({n: Array(np.frombuffer(data, np.uint8)) for n, data in named.items()})
    return content


@dataclass
class Gate:
    """One participant: its directories, its filter (again after `kill`), its app."""

    name: str
    config: ClientConfig
    paths: Paths
    train: Train = step
    workers: Workers = field(default_factory=lambda: HERE)
    trained: list[int] = field(default_factory=list)
    filter: EncryptedFilter | None = None

    @property
    def running(self) -> EncryptedFilter:
        """The filter, made anew after a kill."""
        if self.filter is None:
            assert self.config.encryption is not None
            self.filter = encrypted_filter(self.config, self.config.encryption, self.paths, self.workers)
        return self.filter

    def kill(self) -> None:
        """As kill -9: memory is gone, the directory stays."""
        if self.filter is not None:
            self.filter._parts.close()  # the worker processes, which a container's end takes with it
        self.filter = None

    def replace(self) -> None:
        """Another pod: the directory is gone too."""
        self.kill()
        shutil.rmtree(self.paths.state)

    def ask(self, kind: str, content: RecordDict) -> Reply:
        """One message through the gate, and through its app if the gate lets it. Raises GateRefused."""
        decider = Decider(self.running)
        asked = decider.before(kind, content)
        answer = asked if isinstance(asked, Answer) else decider.after(asked, self._app(kind, content))
        if answer.content is None:
            raise GateRefused(self.name, answer.code)
        return Reply(answer.content)

    def _app(self, kind: str, content: RecordDict) -> RecordDict:
        config = dict(content.config_records["config"]) if "config" in content else {}
        number = int(str(config.get("server-round", 0)))
        if kind == m.EVALUATE:
            arrays = {n: a.numpy() for n, a in content.array_records["arrays"].items()}
            loss = float(sum(float(np.square(a).sum()) for a in arrays.values()))
            return RecordDict({"metrics": MetricRecord({"num-examples": 10, "loss": loss})})
        assert kind == m.TRAIN, kind
        self.trained.append(number)
        made = self.train(self.name, number, {n: a.numpy() for n, a in content.array_records["arrays"].items()})
        arrays_record = ArrayRecord({name: Array(np.asarray(value)) for name, value in made.items()})
        return RecordDict({"arrays": arrays_record, "metrics": MetricRecord({"num-examples": 7})})


class Fleet:
    """The participants of one job; `gate[name]` each."""

    def __init__(
        self,
        root: Path,
        *,
        privacy: PrivacyPlan | None = None,
        aggregation: Aggregation | None = None,
        scheme: EncryptingScheme = "BFV",
        members: Sequence[str] = NAMES,
        quorum: int = 2,
        collusion_threshold: int = 0,
        rounds: int = 5,
        model_release: ModelRelease = "Coordinator",
        model: Arrays | None = None,
        compression: Compression | None = None,
        train: Train = step,
        workers: Workers = HERE,
        **changes: Any,
    ) -> None:
        self.root, self.members, self.privacy = root, tuple(members), privacy
        self.aggregation = aggregation or Aggregation()
        self.compression, self.model = compression, MODEL if model is None else model
        self.identities: dict[str, IdentityKey] = {name: new_identity() for name in members}
        common = {"aggregation": self.aggregation, "compression": compression, **changes}
        bare = {name: self._config(name, common) for name in members}
        scale, mass = self._weights()
        self.plan = EncryptionPlan(
            scheme=scheme,
            key_maker=self.members[0],
            quorum=quorum,
            collusion_threshold=collusion_threshold,
            rounds=rounds,
            model_release=model_release,
            range="1" if privacy is None else None,
            terms=bare[self.members[0]].common_terms(),
            roster=[
                RosterMember(name=n, identity=self.identities[n].public, scale=scale[n], mass=mass[n]) for n in members
            ],
        )
        self.roster = Roster(self.plan, UID)
        self.gate: dict[str, Gate] = {}
        for name in members:
            config = bare[name].model_copy(update={"encryption": self.plan})
            self.gate[name] = Gate(name, config, Paths(root / name), train, workers)
            self._files(name, config)

    def signer(self, name: str) -> Signer:
        """What a participant can sign that does not follow the protocol."""
        return Signer(self.identities[name].private, name, self.roster.agreement)

    def close(self) -> None:
        """End the workers."""
        for gate in self.gate.values():
            gate.kill()

    def paid(self, name: str) -> list[str]:
        """Slots that the owner's ledger has."""
        book = Book(self.gate[name].paths.ledger, "borrowers")
        with book.locked():
            account = book.account(names.account_id(UID, name))
        return [] if account is None else list(account.releases)

    def _records(self, name: str) -> int:
        return RECORDS.get(name, 50)

    def _weights(self) -> tuple[dict[str, str], dict[str, str]]:
        if self.privacy is not None and self.privacy.unit == "Record":
            batches = {n: self._plan(n).expected_batch for n in self.members}  # type: ignore[union-attr]
            return dict.fromkeys(self.members, "1"), {n: str(batch) for n, batch in batches.items()}
        most = max(self._records(n) for n in self.members)
        shares = {n: str(self._records(n) / most) for n in self.members}
        return shares, shares

    def _plan(self, name: str) -> PrivacyPlan | None:
        return None if self.privacy is None else self.privacy.for_owner(self._records(name), self.privacy.adversary)

    def _config(self, name: str, common: Mapping[str, Any]) -> ClientConfig:
        schema = DatasetSchema(label="default", ranges={n: ColumnRange(low="0", high="1") for n in ("age", "income")})
        fields: dict[str, Any] = {
            "job": JobRef(namespace="consortium", name="credit", uid=UID),
            "participant": name,
            "index": self.members.index(name),
            "participants": len(self.members),
            "server_address": "server:9443",
            "client_app": "app:app",
            "dataset": ClientDataset(name="loans", path="loans.csv", records=self._records(name), schema_=schema),
            "plan_hash": HASH,
            "privacy": self._plan(name),
            "population": "borrowers",
            "ledger": "File",
        }
        return ClientConfig(**{**fields, **common})

    def _files(self, name: str, config: ClientConfig) -> None:
        paths = Paths(self.root / name)
        paths.ledger.mkdir(parents=True)
        paths.identity_key.parent.mkdir(parents=True)
        paths.identity_key.write_text(self.identities[name].private)
        arrays = ArrayRecord({n: Array(np.asarray(value)) for n, value in self.model.items()})
        blobs = wire.pack(RecordDict({"arrays": arrays, "app": ConfigRecord({"statistics": False, "model": "{}"})}))
        replace_file(paths.initial / FILE, b"".join([head_of(Frame("initial", {}, blobs)), *blobs]))
        if config.privacy is None:
            return
        book, now = Book(paths.ledger, "borrowers"), datetime.now(UTC)
        made = Account(
            job=config.job,
            participation=f"credit-{name}-12345678",
            plan_hash=HASH,
            plan=config.privacy,
            lease_until=now + timedelta(hours=1),
        )
        spec = PrivacyBudgetSpec(unit=config.privacy.unit, epsilon="1000", delta="1e-3")
        with book.locked():
            book.write("budget", now, spec=spec.to_wire())
            book.write("reserve", now, account=names.account_id(UID, name), value=made.to_wire())


class Server:
    """An honest server: it only carries bytes, and adds ciphertexts. Each step is a method; `round` does them all."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.commit: m.Commit | None = None
        self.sealed: tuple[m.Commit, bytes] | None = None
        self.statement: KeyStatement | None = None
        self.confirmations: dict[str, Confirmation] = {}
        self.ciphertexts: dict[str, bytes] = {}
        self.contributions: list[Contribution] = []

    def ask(self, name: str, kind: str, message: m.Message, **more: Any) -> Reply:
        """One gate. Raises GateRefused."""
        return self.fleet.gate[name].ask(kind, request(message, **more))

    # -- keys

    def hello(self, name: str) -> m.HelloReply:
        """Where a gate stands."""
        return self.ask(name, m.HELLO, m.HelloRequest()).message(m.HelloReply)

    def wrap(self, holder: str, recipients: Sequence[str]) -> m.WrapReply:
        """The key of one gate for others."""
        prekeys = [self.hello(name).prekey for name in recipients]
        return self.ask(holder, m.WRAP, m.WrapRequest(recipients=prekeys)).message(m.WrapReply)

    def join(self, holder: str, recipients: Sequence[str]) -> None:
        """The key from one gate to others."""
        wrapped = self.wrap(holder, recipients)
        self.statement = wrapped.statement
        for envelope in wrapped.envelopes:
            joining = m.JoinRequest(statement=wrapped.statement, envelope=envelope)
            reply = self.ask(envelope.recipient, m.JOIN, joining).message(m.JoinReply)
            self.confirmations[envelope.recipient] = reply.confirmation

    def confirm(self, recipients: Sequence[str]) -> None:
        """Who holds the key."""
        known = m.ConfirmedRequest(confirmations=list(self.confirmations.values()))
        for name in recipients:
            self.ask(name, m.CONFIRMED, known)

    def keys(self) -> None:
        """All gates hold the maker's key and know it."""
        everybody = self.fleet.members
        self.join(self.fleet.plan.key_maker, everybody)
        self.confirm(everybody)

    # -- rounds

    def train(self, name: str, number: int) -> Contribution:
        """One update; a gate that lacks the model is restored."""
        message = m.TrainRequest(commit=self.commit, attempt=1)
        try:
            reply = self.ask(name, m.TRAIN, message, number=number)
        except GateRefused as error:
            if error.code is not ReplyCode.STATE_MISSING:
                raise
            self.restore(name)
            reply = self.ask(name, m.TRAIN, message, number=number)
        self.ciphertexts[name] = reply.raw(m.UPDATE, m.CIPHERTEXT)
        return reply.message(m.TrainReply).contribution

    def restore(self, name: str) -> None:
        """The newest sealed state to one gate."""
        assert self.sealed is not None
        commit, sealed = self.sealed
        self.ask(name, m.RESTORE, m.RestoreRequest(commit=commit), arrays={m.STATE: {m.SEALED: sealed}})

    def half(self, name: str, half: Half) -> bytes:
        """Half of one update; of what cannot be cut, all of it."""
        try:
            return split_upload(self.fleet.plan.scheme, self.ciphertexts[name], self.count)[half]
        except CiphertextInvalid:
            return self.ciphertexts[name]

    def verify(
        self, name: str, number: int, listed: Sequence[Contribution], half: Half | None = None
    ) -> tuple[Vote, Recomputed | None]:
        """A vote, and from a verifier the sum of one half."""
        arrays = {m.CIPHERTEXTS: {c.participant: self.half(c.participant, half) for c in listed}} if half else None
        message = m.VerifyRequest(round=number, half=half, contributions=list(listed))
        reply = self.ask(name, m.VERIFY, message, arrays=arrays).message(m.VerifyReply)
        return reply.vote, reply.recomputed

    def add(self, listed: Sequence[Contribution]) -> bytes:
        """The sum of a list."""
        engine = engine_of(self.fleet.plan.scheme)
        return engine.add([self.ciphertexts[one.participant] for one in listed], self.count)

    @property
    def count(self) -> int:
        """Points of one ciphertext."""
        size = sum(a.size for a in self.fleet.model.values() if a.dtype.kind == "f")
        compression = self.fleet.compression
        if compression is None or compression.sparsity is None:
            return size
        return max(1, round(float(compression.sparsity.fraction) * size))

    def apply(self, name: str, message: m.ApplyRequest, total: bytes) -> tuple[Applied, bytes | None]:
        """What a gate makes of the sum."""
        reply = self.ask(name, m.APPLY, message, arrays={m.SUM: {m.SUM: total}})
        sealed = reply.raw(m.STATE, m.SEALED) if message.seal else None
        return reply.message(m.ApplyReply).applied, sealed

    def agree(
        self,
        number: int,
        listed: Sequence[Contribution],
        voters: Collection[str],
        adders: Sequence[str] | None = None,
    ) -> m.ApplyRequest:
        """Votes of all voters, sums of the adders: bodies by the first, seeds by the second, and so on.

        None: by those whose turn it is.
        """
        turn = verifiers(voters, roster=self.fleet.roster, round=number)
        chosen = turn if adders is None else {"Bodies": tuple(adders[::2]), "Seeds": tuple(adders[1::2])}
        votes: dict[str, Vote] = {}
        recomputed: list[Recomputed] = []
        for name in voters:
            halves: list[Half | None] = [half for half in HALVES if name in chosen[half]]
            for half in halves or [None]:
                votes[name], made = self.verify(name, number, listed, half)
                recomputed += [] if made is None else [made]
        return m.ApplyRequest(
            round=number, contributions=list(listed), votes=list(votes.values()), recomputed=recomputed
        )

    def finish(self, number: int, message: m.ApplyRequest, total: bytes, present: Sequence[str]) -> m.Commit:
        """All gates apply the sum; the first seals. Raises Refused when they differ."""
        applied, sealed = [], None
        for index, name in enumerate(present):
            word, state = self.apply(name, message.model_copy(update={"seal": index == 0}), total)
            applied.append(word)
            sealed = state or sealed
        self.commit = settle(number, applied, roster=self.fleet.roster)
        assert sealed is not None
        self.sealed = (self.commit, sealed)
        return self.commit

    def round(self, number: int, present: Sequence[str] | None = None, absent: Collection[str] = ()) -> m.Commit:
        """A whole round; who is `absent` trains nothing but votes and applies."""
        fleet, present = self.fleet, list(present or self.fleet.members)
        self.contributions = listed = [self.train(name, number) for name in present if name not in absent]
        first = listed[0]
        digest = check_contributions(
            listed, roster=fleet.roster, round=number, fingerprint=first.fingerprint, base=first.base
        )
        assert digest == list_digest(listed)
        message = self.agree(number, listed, present)
        total = self.add(listed)
        sums = split_total(fleet.plan.scheme, total, self.count)
        assert {one.sum_digest for one in message.recomputed} == {digest_of(each) for each in sums.values()}
        return self.finish(number, message, total, present)

    # -- the end

    def evaluate(self, name: str, number: int) -> Reply:
        """On the committed model."""
        return self.ask(name, m.EVALUATE, m.EvaluateRequest(commit=self.commit), number=number)

    def release(self, present: Sequence[str] | None = None) -> m.ModelRequest:
        """Everybody's word for the last model."""
        assert self.commit is not None
        message = m.ReleaseRequest(commit=self.commit)
        replies = [self.ask(name, m.RELEASE, message) for name in present or self.fleet.members]
        words = [reply.message(m.ReleaseReply).release for reply in replies]
        return m.ModelRequest(round=self.commit.round, releases=words)

    def model(self, name: str, message: m.ModelRequest) -> Reply:
        """The model of one gate, if it gives it."""
        return self.ask(name, m.MODEL, message)
