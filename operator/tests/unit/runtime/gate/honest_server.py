"""An honest server of an encrypted job in memory: the protocol done right.

A test that is hostile asks the gates itself, with `Server`'s parts.
"""

from collections.abc import Collection, Sequence
from typing import Any

from hanse.api.encryption import HALVES, Half
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import messages as m
from hanse.runtime.agreement.checks import check_contributions, settle, verifiers
from hanse.runtime.agreement.statements import (
    Applied,
    Confirmation,
    Contribution,
    KeyStatement,
    Prekey,
    Recomputed,
    Vote,
    digest_of,
    list_digest,
)
from hanse.runtime.he import CiphertextInvalid, engine_of, split_total, split_upload
from tests.unit.runtime.gate.encrypted_fleet import Fleet
from tests.unit.runtime.gate.encrypted_gate import GateRefused, Reply, request


class Server:
    """An honest server: it only carries bytes, and adds ciphertexts. Each step is a method; `round` does them all."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.commit: m.Commit | None = None
        self.sealed: tuple[m.Commit, bytes] | None = None
        self.statement: KeyStatement | None = None
        self.confirmations: dict[str, Confirmation] = {}
        self.prekeys: list[Prekey] = []
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
        self.prekeys = [self.hello(name).prekey for name in recipients]
        return self.ask(holder, m.WRAP, m.WrapRequest(recipients=self.prekeys)).message(m.WrapReply)

    def join(self, holder: str, recipients: Sequence[str]) -> None:
        """The key from one gate to others; all that have it say so to them."""
        wrapped = self.wrap(holder, recipients)
        self.statement = wrapped.statement
        for envelope in wrapped.envelopes:
            joining = m.JoinRequest(statement=wrapped.statement, envelope=envelope, prekeys=self.prekeys)
            reply = self.ask(envelope.recipient, m.JOIN, joining).message(m.JoinReply)
            self.confirmations[envelope.recipient] = reply.confirmation
        self.tell([name for name in self.confirmations if name not in recipients])

    def tell(self, holders: Sequence[str]) -> None:
        """Who has the key says to those that joined last how far it is."""
        assert self.statement is not None
        for name in holders:
            message = m.JoinRequest(statement=self.statement, prekeys=self.prekeys)
            self.confirmations[name] = self.ask(name, m.JOIN, message).message(m.JoinReply).confirmation

    def confirm(self, recipients: Sequence[str]) -> None:
        """Who holds the key."""
        known = m.ConfirmedRequest(confirmations=list(self.confirmations.values()), prekeys=self.prekeys)
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
