"""A server of real gates with real keys and ciphertexts, which does with them what it likes."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hanse.api.encryption import HALVES
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import Signer, digest_of, messages
from hanse.runtime.agreement.statements import Contribution, Recomputed, asked_digest
from hanse.runtime.codec import Layout
from hanse.runtime.codec.summed import SumCodec
from hanse.runtime.gate.encrypted_workers import Workers
from hanse.runtime.he import Cipher, engine_of, split_total
from tests.unit.runtime.gate.encrypted_fleet import MODEL, Fleet
from tests.unit.runtime.gate.encrypted_gate import HERE, step
from tests.unit.runtime.gate.honest_server import Server

CODE = ReplyCode
A, B, C = "bank-a", "bank-b", "bank-c"
LAYOUT = Layout.of(MODEL, [])
Vector = NDArray[np.float64]

#: What the server is after, and what it may be wrong by: a few steps of the grid, which is 2^-17 of the range.
SECRET: Vector = LAYOUT.flatten(step(A, 1, MODEL)) - LAYOUT.flatten(MODEL)
CLOSE = 1e-4


@dataclass
class Hostile(Server):
    """The server's parts, used wrongly. `decrypted` is what gates have decrypted, watched in their memory."""

    fleet: Fleet
    decrypted: list[tuple[int, NDArray[np.int64]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.fleet)

    def collect(self, number: int = 1) -> list[Contribution]:
        """Keys for all, and everybody's upload of round 1."""
        self.keys()
        return [self.train(name, number) for name in self.fleet.members]

    def total_of(self, names: list[str]) -> bytes:
        """What the engine adds up of these uploads."""
        return engine_of("BFV").add([self.ciphertexts[name] for name in names], self.count)

    def voted(self, listed: list[Contribution], voters: list[str]) -> messages.ApplyRequest:
        """Some gates' votes for a list; its true sum has been computed by others, whose votes are somewhere else."""
        message = self.agree(1, listed, voters, [])
        total = self.total_of([one.participant for one in listed])
        return message.model_copy(update={"recomputed": self.words([B, C], message.votes[0].list_digest, total)})

    def words(self, signers: list[str], list_digest: str, total: bytes) -> list[Recomputed]:
        """Two participants' word that this is the sum of a list, as they sign it where they lie: one for each half."""
        cut = split_total("BFV", total, self.count)
        pairs = zip(signers, HALVES, strict=True)
        return [self.fleet.signer(who).recomputed(1, list_digest, h, digest_of(cut[h])) for who, h in pairs]

    def mean(self, points: NDArray[np.int64], mass: float) -> Vector:
        """Points as the update that they are: a division that anybody can do."""
        members = [(float(one.scale), float(one.mass)) for one in self.fleet.plan.roster]
        codec = SumCodec.of(LAYOUT, 1, self.fleet.roster.agreement, members, None, None, 1.0)
        return codec.mean(points, mass)

    def mass(self, *names: str) -> float:
        return sum(float(self.fleet.plan.member(name).mass) for name in names)

    def end_with(self, message: messages.ApplyRequest, total: bytes, number: int = 1) -> Vector:
        """All gates apply the sum, and the model is released: how far it has moved."""
        self.finish(number, message, total, self.fleet.members)
        arrays = self.model(A, self.release()).arrays()
        return LAYOUT.flatten(arrays) - LAYOUT.flatten(MODEL)

    def read(self, key: bytes, name: str) -> Vector:
        """One participant's update out of its upload, for whoever has the job's key."""
        engine = engine_of("BFV")
        points = engine.decrypt(engine.round_key(key, 1), self.total_of([name]), self.count)
        return self.mean(points, self.mass(name))


class Watched:
    """A gate's cipher that writes down what it has decrypted."""

    def __init__(self, cipher: Cipher, decrypted: list[tuple[int, NDArray[np.int64]]]) -> None:
        self._cipher, self._decrypted = cipher, decrypted
        self.encrypt, self.close = cipher.encrypt, cipher.close

    def decrypt(self, number: int, total: bytes, count: int) -> NDArray[np.int64]:
        points = self._cipher.decrypt(number, total, count)
        self._decrypted.append((number, points))
        return points


def watching(decrypted: list[tuple[int, NDArray[np.int64]]]) -> Workers:
    """Engines in this process, watched."""
    made: Any = lambda scheme, key: Watched(HERE.cipher(scheme, key), decrypted)  # noqa: E731
    return Workers(made, HERE.summing)


def forged(server: Hostile, name: str, signer: Signer, **changes: str) -> Contribution:
    """A contribution to round 1 by whoever signs it."""
    hello = server.hello(A)
    cut = {half: digest_of(server.half(name, half)) for half in HALVES}
    fields = {
        "fingerprint": hello.fingerprint,
        "scale": server.fleet.plan.member(name).scale,
        "digest": digest_of(server.ciphertexts[name]) if name in server.ciphertexts else "",
        "base": hello.model,
        "asked": asked_digest({"config": {"server-round": 1}}),
    }
    return signer.contribution(epoch=1, round=1, attempt=1, **{**fields, **changes}, halves=cut)


def own_update(name: str) -> Vector:
    """What a colluder knows: its own."""
    return LAYOUT.flatten(step(name, 1, MODEL)) - LAYOUT.flatten(MODEL)
