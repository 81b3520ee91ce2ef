"""A small job for the agreement's tests: participants with identities, toy encryption, gates that do what they must.

`Gate` is the least that keeps the protocol; the real one is `hanse.runtime.gate`'s. Its checks are a module that a test
may replace by a mutant (`mutants`), to show that an attack which is refused goes through without the check.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from hanse.api.encryption import HALVES, EncryptionPlan, Half, ModelRelease, RosterMember, least_quorum
from hanse.pki.identity import IdentityKey, new_identity
from hanse.runtime.agreement import Ballot, Commit, Roster, Signer, checks, digest_of
from hanse.runtime.agreement.statements import Applied, Contribution, Recomputed, Vote

UID = str(uuid.UUID(int=5))
KEY = b"the job's key"
OTHER_KEY = b"another key"
ZERO = digest_of(b"first model")


def fingerprint(key: bytes) -> str:
    return digest_of(b"fingerprint " + key)


# --- an additively homomorphic toy: a pad for each nonce; bodies are values, seeds are nonces -------------------------


def encrypt(key: bytes, nonce: str, value: int) -> bytes:
    return json.dumps({"nonces": [nonce], "value": value + _pad(key, nonce)}).encode()


def half_of(ciphertext: bytes, half: Half) -> bytes:
    return json.dumps(json.loads(ciphertext)["value" if half == "Bodies" else "nonces"]).encode()


def halves_of(ciphertext: bytes) -> dict[Half, str]:
    return {half: digest_of(half_of(ciphertext, half)) for half in HALVES}


def add_halves(halves: Iterable[bytes], half: Half) -> bytes:
    parts = [json.loads(one) for one in halves]
    return json.dumps(sum(parts) if half == "Bodies" else sorted(nonce for part in parts for nonce in part)).encode()


def add(ciphertexts: Iterable[bytes]) -> bytes:
    whole = list(ciphertexts)
    value, nonces = (json.loads(add_halves([half_of(one, half) for one in whole], half)) for half in HALVES)
    return json.dumps({"nonces": nonces, "value": value}).encode()


def decrypt(key: bytes, total: bytes) -> int:
    part = json.loads(total)
    value: int = part["value"] - sum(_pad(key, nonce) for nonce in part["nonces"])
    return value


def _pad(key: bytes, nonce: str) -> int:
    return int.from_bytes(hashlib.sha256(key + nonce.encode()).digest()[:4])


# --- participants ----------------------------------------------------------------------------------------------------

_IDENTITIES = [new_identity() for _ in range(8)]
NAMES = ["city-a", "city-b", "city-c", "city-d", "city-e", "city-f", "city-g", "city-h"]


@dataclass(frozen=True)
class World:
    """The job's plan and all private keys."""

    plan: EncryptionPlan
    roster: Roster
    signers: Mapping[str, Signer]
    keys: Mapping[str, IdentityKey]

    @property
    def names(self) -> list[str]:
        return self.plan.names

    def contribution(self, name: str, value: int = 0, **changes: Any) -> tuple[Contribution, bytes]:
        """An honest one of round 1, but for `changes`."""
        key = changes.pop("key", KEY)
        assert isinstance(key, bytes)
        ciphertext = encrypt(key, f"{name} {changes.get('round', 1)} {changes.get('attempt', 1)}", value)
        fields: dict[str, Any] = {
            "epoch": 1,
            "round": 1,
            "fingerprint": fingerprint(key),
            "attempt": 1,
            "scale": self.plan.member(name).scale,
            "digest": digest_of(ciphertext),
            "halves": halves_of(ciphertext),
            "base": ZERO,
            "asked": ZERO,
        }
        return self.signers[name].contribution(**{**fields, **changes}), ciphertext

    def contributions(self, names: Sequence[str], **changes: Any) -> list[Contribution]:
        return [self.contribution(name, **changes)[0] for name in names]

    def votes(self, names: Sequence[str], digest: str, round: int = 1) -> list[Vote]:
        return [self.signers[name].vote(round, digest) for name in names]


def world(
    count: int = 3,
    threshold: int = 0,
    quorum: int | None = None,
    release: ModelRelease = "Coordinator",
    uid: str = UID,
) -> World:
    names = NAMES[:count]
    keys = dict(zip(names, _IDENTITIES, strict=False))
    plan = EncryptionPlan(
        scheme="BFV",
        key_maker=names[0],
        quorum=quorum or least_quorum(count, threshold),
        collusion_threshold=threshold,
        rounds=5,
        model_release=release,
        terms="sha256:" + "0" * 64,
        roster=[RosterMember(name=name, identity=keys[name].public, scale="0.5", mass="0.5") for name in names],
    )
    roster = Roster(plan, uid)
    signers = {name: Signer(key.private, name, roster.agreement) for name, key in keys.items()}
    return World(plan, roster, signers, keys)


class Gate:
    """One gate that votes, verifies and applies as the protocol says; `model` and `read` are what it makes of a sum."""

    def __init__(self, world: World, name: str, directory: Path, judge: ModuleType = checks) -> None:
        self.world, self.name, self.judge = world, name, judge
        self.signer = world.signers[name]
        self.ballot = Ballot(directory / name, world.roster.agreement)
        self.base, self.model = 0, ZERO
        self.read: list[int] = []

    def vote(self, round: int, contributions: Sequence[Contribution]) -> Vote:
        digest = self._list(round, contributions)
        self.ballot.vote(round, digest)
        return self.signer.vote(round, digest)

    def verify(
        self, round: int, contributions: Sequence[Contribution], half: Half, halves: Mapping[str, bytes]
    ) -> tuple[Vote, Recomputed]:
        vote = self.vote(round, contributions)
        if self.world.plan.keeps_halves_apart:
            self.ballot.take(round, half)
        self.judge.check_ciphertexts(contributions, half, halves)
        total = add_halves((halves[one.participant] for one in contributions), half)
        return vote, self.signer.recomputed(round, vote.list_digest, half, digest_of(total))

    def apply(
        self,
        round: int,
        contributions: Sequence[Contribution],
        votes: Sequence[Vote],
        recomputed: Sequence[Recomputed],
        total: bytes,
    ) -> Applied:
        """`read` gets the plain sum: in the attacks it stands for what a model that is released later tells."""
        digest = self._list(round, contributions)
        about = {"roster": self.world.roster, "round": round, "list_digest": digest}
        self.judge.check_votes(votes, **about)
        self.judge.check_recomputed(recomputed, **about, sums=halves_of(total))
        self.ballot.decide(round, digest, digest_of(total))
        self.read.append(decrypt(KEY, total))
        model = digest_of(f"{self.model} + {self.read[-1]} of {round}".encode())
        return self.signer.applied(
            round=round,
            base=self.base,
            list_digest=digest,
            sum_digest=digest_of(total),
            model=model,
            state=digest_of(b"state " + model.encode()),
        )

    def commit(self, commit: Commit) -> None:
        outcome = self.judge.check_applied(commit, roster=self.world.roster)
        self.ballot.commit(outcome.round, outcome.model)
        self.base, self.model = outcome.round, outcome.model

    def _list(self, round: int, contributions: Sequence[Contribution]) -> str:
        self.judge.check_round(round, plan=self.world.plan, committed=self.base)
        digest: str = self.judge.check_contributions(
            contributions, roster=self.world.roster, round=round, fingerprint=fingerprint(KEY), base=self.model
        )
        return digest


def with_roster(world: World, roster: Roster) -> World:
    """The same job judged by another roster (a mutant's)."""
    return replace(world, roster=roster)
